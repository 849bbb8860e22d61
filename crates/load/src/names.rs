//! Names of variants, as on the command line and in the report.

use std::fmt;

/// This name is not one of the possible ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownName {
    name: String,
    /// All known names, such as `fixed, poisson`.
    known: String,
}

impl UnknownName {
    /// The one of `all` that is displayed as `name`.
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
        write!(f, "{name:?} is not known: one of {known}")
    }
}

impl std::error::Error for UnknownName {}

#[cfg(test)]
mod tests {
    use crate::{Arrivals, FaultKind, Verify};

    #[test]
    fn names_read_as_they_are_written() {
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
    fn unknown_names_are_answered_with_the_known_ones() {
        let said = "random".parse::<Arrivals>().unwrap_err().to_string();
        assert_eq!(said, "\"random\" is not known: one of fixed, poisson");
    }
}
