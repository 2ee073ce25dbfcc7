//! Storages on the command line: chosen, or described by the options of their type.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value};
use wl_daemon::plugin::BackendFactory;

use super::options::{Word, word};
use super::schema::value;

/// One storage: a path or a URL, or one of a container's.
#[derive(Clone, Debug, Args)]
pub struct StorageChoice {
    /// Take a storage of this container
    #[arg(long, value_name = "NAME", requires = "storage")]
    pub container: Option<String>,
    /// Backend id or type of the container's storage
    #[arg(long, value_name = "X", requires = "container")]
    pub storage: Option<String>,
    /// Give the storage at the path or URL an option of its type (endpoint_url, credentials_file, ...)
    #[arg(
        long = "storage-option",
        value_name = "NAME=VALUE",
        value_parser = word,
        conflicts_with = "container"
    )]
    pub options: Vec<Word>,
}

/// The options that storages of every type have.
#[derive(Clone, Debug, Args)]
pub struct CommonStorageArgs {
    /// Container that the storage belongs to
    #[arg(long, value_name = "NAME")]
    pub container: String,
    /// Name of the storage within the container [default: TYPE-1, TYPE-2, ...]
    #[arg(long, value_name = "ID")]
    pub backend_id: Option<String>,
    /// Poll for changes every so many seconds
    #[arg(long, value_name = "S", allow_hyphen_values = true, value_parser = super::parse::seconds)]
    pub watcher_interval: Option<u64>,
    /// Never write to this storage
    #[arg(long)]
    pub read_only: bool,
}

/// `TYPE` and its options, made from the type's JSON schema.
#[derive(Clone, Debug)]
pub struct TypedStorage {
    /// The type, which may be unknown.
    pub type_name: String,
    /// What every type has; missing for an unknown type.
    pub common: Option<CommonStorageArgs>,
    /// The type's own parameters.
    pub params: Value,
}

impl Args for TypedStorage {
    fn augment_args(cmd: Command) -> Command {
        let types = wl_daemon::registry()
            .map(|registry| registry.backends().map(type_command).collect::<Vec<_>>())
            .unwrap_or_default();
        cmd.subcommands(types)
            .subcommand_value_name("TYPE")
            .subcommand_help_heading("Types")
            .subcommand_required(true)
            .arg_required_else_help(true)
            // An unknown type gets an answer that lists the known ones.
            .allow_external_subcommands(true)
    }

    fn augment_args_for_update(cmd: Command) -> Command {
        Self::augment_args(cmd)
    }
}

impl FromArgMatches for TypedStorage {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingSubcommand);
        let (type_name, matches) = matches.subcommand().ok_or_else(missing)?;
        let factory = wl_daemon::registry()
            .ok()
            .and_then(|registry| registry.backend(type_name).ok());
        let (common, params) = match factory {
            Some(factory) => (
                Some(CommonStorageArgs::from_arg_matches(matches)?),
                read_params(factory, matches),
            ),
            None => (None, Value::Null),
        };
        Ok(Self {
            type_name: type_name.to_owned(),
            common,
            params,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The names that are not the type's to give.
const COMMON: [&str; 9] = [
    "container",
    "backend-id",
    "watcher-interval",
    "read-only",
    "base-dir",
    "output",
    "quiet",
    "help",
    "object",
];

fn schema(factory: &dyn BackendFactory) -> Value {
    serde_json::from_str(factory.schema()).unwrap_or_default()
}

/// The type's own properties in its schema.
fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let all = schema["properties"].as_object().into_iter().flatten();
    all.filter(|(name, _)| !COMMON.contains(&&*option_name(name)) && *name != "type")
}

fn option_name(property: &str) -> String {
    property.replace('_', "-")
}

fn argument_id(property: &str) -> String {
    format!("parameter {property}")
}

fn type_command(factory: &'static dyn BackendFactory) -> Command {
    let schema = schema(factory);
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut command = Command::new(factory.type_name()).disable_help_subcommand(true);
    for (name, rule) in properties(&schema) {
        let mut arg = option(name, rule);
        if required.iter().any(|wanted| wanted == name.as_str()) {
            arg = arg.required(true);
        }
        command = command.arg(arg);
    }
    // Last, because the common options bring a description of their own.
    CommonStorageArgs::augment_args(command).about(factory.summary())
}

fn option(name: &str, rule: &Value) -> Arg {
    let mut arg = Arg::new(argument_id(name))
        .long(option_name(name))
        .value_name(name.to_uppercase().replace('-', "_"));
    if let Some(help) = rule["description"].as_str() {
        arg = arg.help(help.trim_end_matches('.').to_owned());
    }
    match rule["type"].as_str() {
        Some("boolean") => arg
            .num_args(0..=1)
            .default_missing_value("true")
            .value_parser(PossibleValuesParser::new(["true", "false"])),
        Some("array") => arg.action(ArgAction::Append),
        _ => match words(&rule["enum"]) {
            Some(words) => arg.value_parser(PossibleValuesParser::new(words)),
            None => arg,
        },
    }
}

fn words(values: &Value) -> Option<Vec<String>> {
    let words = values.as_array()?.iter();
    words.map(|word| word.as_str().map(str::to_owned)).collect()
}

fn read_params(factory: &dyn BackendFactory, matches: &ArgMatches) -> Value {
    let schema = schema(factory);
    let mut params = Map::new();
    for (name, rule) in properties(&schema) {
        let Some(values) = matches.get_many::<String>(&argument_id(name)) else {
            continue;
        };
        let mut values: Vec<_> = values.map(|text| value(text, rule)).collect();
        let value = match rule["type"].as_str() {
            Some("array") => Value::Array(values),
            _ => values.pop().unwrap_or_default(),
        };
        params.insert(name.clone(), value);
    }
    Value::Object(params)
}
