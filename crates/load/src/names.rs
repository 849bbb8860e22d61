//! Parses the names of variants, as they stand on the command line and in the report.

use std::fmt;

/// The error of a text that is not one of the possible names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    /// The text.
    name: String,
    /// All possible names, such as `fixed, poisson`.
    known: String,
}

impl UnknownName {
    /// Finds the value of `all` whose `Display` text is `name`.
    pub(crate) fn find<T: fmt::Display>(
        all: impl IntoIterator<Item = T>,
        name: &str,
    ) -> Result<T, UnknownName> {
        let mut known = Vec::new();
        for one in all {
            let its_name = one.to_string();
            if its_name == name {
                return Ok(one);
            }
            known.push(its_name);
        }
        Err(UnknownName {
            name: name.to_owned(),
            known: known.join(", "),
        })
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownName { name, known } = self;
        write!(f, "{name:?} is not known; possible: {known}")
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use crate::{Arrivals, FaultKind, Verify};

    #[test]
    fn names_parse_the_text_that_they_print() {
        for arrivals in [Arrivals::Fixed, Arrivals::Poisson] {
            assert_eq!(arrivals.to_string().parse(), Ok(arrivals));
        }
        for verify in [Verify::Full, Verify::Off] {
            assert_eq!(verify.to_string().parse(), Ok(verify));
        }
        for kind in FaultKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.to_string(), "the report has the same name");
        }
    }

    #[test]
    fn the_error_of_an_unknown_name_lists_the_possible_names() {
        let said = "random".parse::<Arrivals>().unwrap_err().to_string();
        assert_eq!(said, "\"random\" is not known; possible: fixed, poisson");
    }
}
