//! The layers and their order.
use figment::{
    Figment, Profile, Provider,
    providers::{Format, Serialized, Toml},
    value::{Dict, Map, Value},
};
use prism_core::{Error, Fault, Kind};
use serde::{Serialize, de::DeserializeOwned};

/// A configuration that can't be used: names the key and the layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A layer holds something that doesn't fit.
    #[error("configuration: {0}")]
    Layer(Box<figment::Error>),
    /// The configuration can't be written as TOML.
    #[error("configuration can't be printed: {0}")]
    Print(#[from] toml::ser::Error),
}

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        Self::Layer(Box::new(error))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::new(Kind::Invalid, Fault::Validator, error.to_string())
    }
}

/// Values given on the command line, by dotted key.
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<(String, Value)>);

impl Overrides {
    /// The same with one more value.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Serialize) -> Self {
        if let Ok(value) = Value::serialize(value) {
            self.0.push((key.to_owned(), value));
        }
        self
    }

    /// The same with one more value, if there is one.
    #[must_use]
    pub fn set_some(self, key: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }
}

/// A layer of nested values from dotted keys.
#[derive(Debug)]
struct Dotted {
    name: &'static str,
    values: Vec<(String, Value)>,
}

impl Provider for Dotted {
    fn metadata(&self) -> figment::Metadata {
        figment::Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut figment = Figment::new();
        for (key, value) in &self.values {
            figment = figment.merge(Serialized::default(key, value));
        }
        figment.data()
    }
}

/// Reads a configuration: the defaults, then a TOML text, then variables that begin with `PRISM__` (`__` between the parts
/// of a key), then flags. The caller brings file and environment, so that a library never looks for them.
///
/// # Errors
/// An unknown key or a value of the wrong type, with its key and layer.
pub fn load<C>(file: Option<&str>, environment: &[(String, String)], flags: &Overrides) -> Result<C, ConfigError>
where
    C: Default + Serialize + DeserializeOwned,
{
    let variables = environment.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix("PRISM__")?.to_ascii_lowercase().replace("__", ".");
        // Read as a TOML value where it is one, else as text: `4` is a number, `//Alice` a text.
        let value = value.parse::<Value>().unwrap_or_else(|_| Value::from(value.as_str()));
        Some((key, value))
    });
    let figment = Figment::from(Serialized::defaults(C::default()))
        .merge(Toml::string(file.unwrap_or_default()))
        .merge(Dotted { name: "environment", values: variables.collect() })
        .merge(Dotted { name: "command line", values: flags.0.clone() });
    Ok(figment.extract()?)
}

/// The configuration as TOML.
///
/// # Errors
/// A value that TOML can't carry.
pub fn print<C: Serialize>(config: &C) -> Result<String, ConfigError> {
    Ok(toml::to_string_pretty(config)?)
}
