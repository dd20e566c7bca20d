//! A name as a caller gave it, not checked yet. The daemon checks it, not the command line, so that what is
//! refused is refused in one place, with one reason, and is in the ledger.

use std::borrow::Cow;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::fault::Report;
use crate::name::NameError;

/// What was given where a `T` belongs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Given<T> {
    text: String,
    #[serde(skip)]
    kind: PhantomData<T>,
}

impl<T: FromStr<Err = NameError>> Given<T> {
    /// The name, if it is one.
    pub(super) fn check(&self) -> Result<T, Report> {
        Ok(self.text.parse()?)
    }
}

impl<T> Given<T> {
    /// What was given, whatever it is.
    pub(super) fn raw(&self) -> &str {
        &self.text
    }
}

impl<T> FromStr for Given<T> {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self { text: text.to_owned(), kind: PhantomData })
    }
}

impl<T: JsonSchema> JsonSchema for Given<T> {
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::ContainerName;

    #[test]
    fn a_hostile_name_gets_as_far_as_the_check_and_no_further() {
        for name in ["../x", "-rf", "a b", "a\nb", ""] {
            let given: Given<ContainerName> = serde_json::from_value(name.into()).unwrap();
            assert_eq!(given.raw(), name);
            assert!(given.check().unwrap_err().message.contains("is refused"));
        }
        let given: Given<ContainerName> = "web-01".parse().unwrap();
        assert_eq!(given.check().unwrap().as_str(), "web-01");
    }
}
