//! Dependencies between modules go in one direction only. There are two rules:
//!
//! - The dependencies between sibling modules have no cycle.
//! - No module uses an item that is defined in a module that contains it.
//!
//! A path through a re-export counts as a dependency on the module that defines the item, not on the parent that
//! re-exports it.
//!
//! The test parses the sources. It checks the paths of `use`, the paths in code, and the paths in the arguments of
//! macros. It ignores test modules. Dependencies between crates are not checked, because the compiler allows no cycle
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

#[test]
fn dependencies_between_modules_have_no_cycle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut problems = Vec::new();
    let mut modules = 0;
    for start in [
        "src/lib.rs",
        "src/main.rs",
        "crates/check/src/lib.rs",
        "crates/net/src/lib.rs",
        "crates/load/src/lib.rs",
        "crates/sim/src/lib.rs",
    ] {
        let krate = Crate::parse(&root.join(start));
        modules += krate.modules.len();
        problems.extend(
            krate
                .problems()
                .into_iter()
                .map(|problem| format!("{start}: {problem}")),
        );
    }
    assert!(modules > 50, "only {modules} modules were found");
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Checks the checker: it reports a cycle and the use of a parent's item, and accepts a correct crate.
#[test]
fn cycles_and_uses_of_a_parents_items_are_found() {
    let found = |files: &[(&str, &str)]| {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Crate::parse(&folder.path().join("lib.rs")).problems()
    };
    let lib = ("lib.rs", "mod a; mod b; pub use a::A;");
    let fine = found(&[lib, ("a.rs", "pub struct A;"), ("b.rs", "use crate::A;")]);
    assert!(fine.is_empty(), "{fine:?}");
    for (a, b) in [
        (
            "use crate::b::B; pub struct A;",
            "use super::a::A; pub struct B;",
        ),
        (
            "pub struct A(crate::b::B);",
            "use super::*; pub struct B(A);",
        ),
        (
            "pub struct A; fn f() { super::b::g() }",
            "pub fn g() { println!(\"{}\", crate::A) }",
        ),
    ] {
        let problems = found(&[lib, ("a.rs", a), ("b.rs", b)]);
        assert!(
            problems.iter().any(|p| p.contains("cycle")),
            "{a} {b}: {problems:?}"
        );
    }
    let up = [
        ("lib.rs", "mod a; struct Own;"),
        ("a.rs", "use super::Own;"),
    ];
    let problems = found(&up);
    assert!(problems.iter().any(|p| p.contains("Own")), "{problems:?}");
}

/// A module's path from the crate's root.
type Name = Vec<String>;

/// The parsed modules of a crate.
struct Crate {
    modules: BTreeMap<Name, Module>,
}

/// The names and paths in one module.
#[derive(Default)]
struct Module {
    /// The names of the items that the module defines.
    items: BTreeSet<String>,
    /// The names that a `use` imports, and their paths.
    imports: BTreeMap<String, Vec<String>>,
    /// The paths of `use` that end in `*`, without the `*`.
    globs: Vec<Vec<String>>,
    /// The paths in the code of the module.
    paths: BTreeSet<Vec<String>>,
}

impl Crate {
    /// Parses a crate. `start` is its root file.
    fn parse(start: &Path) -> Crate {
        let mut krate = Crate {
            modules: BTreeMap::new(),
        };
        let folder = start.parent().unwrap().to_owned();
        krate.file(Vec::new(), start, &folder);
        krate
    }

    /// Parses the module `name` in the file `path`. `folder` contains the files of its child modules.
    fn file(&mut self, name: Name, path: &Path, folder: &Path) {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let file = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        self.module(name, &file.items, folder);
    }

    /// Adds the module `name` with these items, and parses its child modules in `folder`.
    fn module(&mut self, name: Name, items: &[Item], folder: &Path) {
        let mut module = Module::default();
        for item in items {
            if is_for_tests(attributes(item)) {
                continue;
            }
            match item {
                Item::Mod(child) => {
                    let child_name = child.ident.to_string();
                    let folder = folder.join(&child_name);
                    let full = [name.clone(), vec![child_name.clone()]].concat();
                    // An inline module counts as a part of the module that contains it.
                    if let Some((_, items)) = &child.content {
                        let mut inner = Module::default();
                        items.iter().for_each(|item| inner.item(item));
                        module.absorb(inner);
                        continue;
                    }
                    let files: [PathBuf; 2] = [folder.with_extension("rs"), folder.join("mod.rs")];
                    let file = files.iter().find(|file| file.exists());
                    self.file(
                        full,
                        file.unwrap_or_else(|| panic!("no {files:?}")),
                        &folder,
                    );
                }
                item => module.item(item),
            }
        }
        self.modules.insert(name, module);
    }

    /// Resolves a path in the module `from`: returns the module that defines the item, and the item's name. `None` if
    /// the path names nothing in this crate. `depth` is the number of imports on the way.
    fn resolve(&self, from: &Name, path: &[String], depth: usize) -> Option<(Name, String)> {
        if depth > 16 {
            return None;
        }
        let mut at = from.clone();
        let mut rest = path;
        let mut is_rooted = false;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => at = Vec::new(),
                "super" => _ = at.pop()?,
                "self" => {}
                _ => break,
            }
            is_rooted = true;
            rest = others;
        }
        loop {
            let Some((first, others)) = rest.split_first() else {
                return Some((at, String::new()));
            };
            let child = [at.clone(), vec![first.clone()]].concat();
            if self.modules.contains_key(&child) {
                at = child;
                rest = others;
                is_rooted = true;
                continue;
            }
            let module = self.modules.get(&at)?;
            if module.items.contains(first) {
                return (is_rooted || others.is_empty()).then(|| (at, first.clone()));
            }
            if let Some(import) = module.imports.get(first) {
                // If `from` itself imports the name, the path of its `use` is checked, so this path need not be.
                return (is_rooted && at != *from)
                    .then(|| self.resolve(&at, import, depth + 1))
                    .flatten();
            }
            let through_globs = module.globs.iter().find_map(|glob| {
                let path = [glob.clone(), vec![first.clone()]].concat();
                self.resolve(&at, &path, depth + 1)
            });
            return through_globs.or_else(|| is_rooted.then(|| (at, first.clone())));
        }
    }

    /// Returns a description of each violation of the two rules.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        // For each parent module: the dependencies between its children, each with a description.
        let mut dependencies: BTreeMap<Name, BTreeMap<String, BTreeSet<(String, String)>>> =
            BTreeMap::new();
        for (name, module) in &self.modules {
            for path in module.all_paths() {
                let Some((to, item)) = self.resolve(name, &path, 0) else {
                    continue;
                };
                let common = name.iter().zip(&to).take_while(|(a, b)| a == b).count();
                if common == to.len() && common < name.len() {
                    let defines = self.modules[&to].items.contains(&item);
                    if defines {
                        problems.push(format!(
                            "{} uses {item} of {}, which contains it",
                            shown(name),
                            shown(&to)
                        ));
                    }
                } else if common < to.len() && common < name.len() {
                    let siblings = dependencies.entry(name[..common].to_vec()).or_default();
                    siblings.entry(name[common].clone()).or_default().insert((
                        to[common].clone(),
                        format!("{} → {}", shown(name), shown(&to)),
                    ));
                }
            }
        }
        for siblings in dependencies.values() {
            for start in siblings.keys() {
                if let Some(cycle) = cycle(siblings, start) {
                    problems.push(format!("a cycle: {}", cycle.join(", ")));
                }
            }
        }
        problems.sort();
        problems.dedup();
        problems
    }
}

/// Returns the dependencies of a cycle through `start`, if there is one.
fn cycle(
    dependencies: &BTreeMap<String, BTreeSet<(String, String)>>,
    start: &str,
) -> Option<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut open = vec![(start.to_owned(), Vec::new())];
    while let Some((at, path)) = open.pop() {
        for (to, dependency) in dependencies.get(&at).into_iter().flatten() {
            let path = [path.clone(), vec![dependency.clone()]].concat();
            if to == start {
                return Some(path);
            }
            if seen.insert(to.clone()) {
                open.push((to.clone(), path));
            }
        }
    }
    None
}

impl Module {
    /// Adds the names and paths of an inline module. In its paths, the first `super` is this module.
    fn absorb(&mut self, inner: Module) {
        for path in inner.all_paths() {
            match path.split_first() {
                Some((first, rest)) if first == "super" => {
                    let rest = rest.to_vec();
                    if rest.first().is_some_and(|first| first == "super") {
                        self.paths.insert(rest);
                    }
                }
                _ => _ = self.paths.insert(path),
            }
        }
        self.items.extend(inner.items);
    }

    /// Returns the paths in code and those of every `use`.
    fn all_paths(&self) -> Vec<Vec<String>> {
        let globs = self.globs.iter().cloned();
        let imports = self.imports.values().cloned();
        self.paths
            .iter()
            .cloned()
            .chain(globs)
            .chain(imports)
            .collect()
    }

    /// Adds the names and paths of an item.
    fn item(&mut self, item: &Item) {
        match item {
            _ if is_for_tests(attributes(item)) => {}
            Item::Use(used) => self.used(&used.tree, &mut Vec::new()),
            item => {
                self.items.extend(defined(item));
                self.visit_item(item);
            }
        }
    }

    /// Adds the imports of a `use` tree. `path` is the path in front of the tree.
    fn used(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.used(&part.tree, path);
                path.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.used(tree, path)),
            UseTree::Glob(_) => self.globs.push(path.clone()),
            UseTree::Name(name) if name.ident == "self" => {
                let last = path.last().cloned().unwrap_or_default();
                self.imports.insert(last, path.clone());
            }
            UseTree::Name(name) => {
                let full = [path.clone(), vec![name.ident.to_string()]].concat();
                self.imports.insert(name.ident.to_string(), full);
            }
            UseTree::Rename(renamed) => {
                let full = [path.clone(), vec![renamed.ident.to_string()]].concat();
                self.imports.insert(renamed.rename.to_string(), full);
            }
        }
    }

    /// Adds the paths in the arguments of a macro, which are only tokens.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.keep(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.keep(&mut path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.keep(&mut path);
    }

    /// Adds the collected path if it has more than one part, and clears it.
    fn keep(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.paths.insert(std::mem::take(path));
        }
        path.clear();
    }
}

impl<'a> Visit<'a> for Module {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.paths.insert(names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_item_use(&mut self, used: &'a syn::ItemUse) {
        // This `use` is inside a function, so the module does not get its names.
        let mut inner = Module::default();
        inner.used(&used.tree, &mut Vec::new());
        self.paths.extend(inner.all_paths());
    }
}

/// Returns the attributes of an item.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is for tests only: `#[cfg(test)]` or `#[cfg(all(test, …))]`. `#[cfg(any(test, …))]` also has other
/// uses.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string();
        attribute.path().is_ident("cfg")
            && (condition == "test" || condition.starts_with("all (test ,"))
    })
}

/// Returns the name that an item defines in its module.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

/// Formats a module's name for a message.
fn shown(name: &Name) -> String {
    match name.is_empty() {
        true => "the crate's root".to_owned(),
        false => name.join("::"),
    }
}
