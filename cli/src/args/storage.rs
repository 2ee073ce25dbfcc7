//! Storages on the command line: chosen, or described by the options of their type.

use std::fmt;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value};
use wl_daemon::plugin::BackendFactory;
use wl_daemon::types::is_for_tests;

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
#[derive(Clone)]
pub struct TypedStorage {
    /// The type, which may be unknown; missing if the storage is described in another way.
    pub type_name: Option<String>,
    /// What every type has; missing for an unknown type.
    pub common: Option<CommonStorageArgs>,
    /// The type's own parameters.
    pub params: Value,
    /// Secret parameters, with the word after their option: `-` to read them from stdin.
    pub secrets: Vec<(String, Word)>,
}

impl fmt::Debug for TypedStorage {
    /// Without parameters: somebody may have put a secret there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedStorage").finish_non_exhaustive()
    }
}

impl Args for TypedStorage {
    fn augment_args(cmd: Command) -> Command {
        let types = wl_daemon::registry()
            .map(|registry| registry.backends().map(type_command).collect::<Vec<_>>())
            .unwrap_or_default();
        cmd.subcommands(types)
            .subcommand_value_name("TYPE")
            .subcommand_help_heading("Types")
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
        let mut storage = Self {
            type_name: None,
            common: None,
            params: Value::Null,
            secrets: Vec::new(),
        };
        let Some((type_name, matches)) = matches.subcommand() else {
            return Ok(storage);
        };
        storage.type_name = Some(type_name.to_owned());
        let factory = wl_daemon::registry()
            .ok()
            .and_then(|registry| registry.backend(type_name).ok());
        if let Some(factory) = factory {
            let schema = schema(factory);
            storage.common = Some(CommonStorageArgs::from_arg_matches(matches)?);
            storage.params = read_params(&schema, matches);
            storage.secrets = read_secrets(&schema, matches);
        }
        Ok(storage)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A storage as rclone knows it.
#[derive(Clone, Debug, Args)]
pub struct RcloneArgs {
    /// Take what rclone's configuration says of a remote, instead of a TYPE
    #[arg(long, value_name = "REMOTE:PATH", value_parser = word, help_heading = "From rclone")]
    pub from_rclone: Option<Word>,
    /// Read this configuration [default: $RCLONE_CONFIG, ~/.config/rclone/rclone.conf, ~/.rclone.conf]
    #[arg(long, value_name = "FILE", help_heading = "From rclone")]
    pub rclone_config: Option<PathBuf>,
    /// Container that the storage belongs to
    #[arg(long, value_name = "NAME", help_heading = "From rclone")]
    pub container: Option<String>,
    /// Name of the storage within the container [default: TYPE-1, TYPE-2, ...]
    #[arg(long, value_name = "ID", help_heading = "From rclone")]
    pub backend_id: Option<String>,
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
    // Last, because the common options bring a description of their own.
    with_parameters(factory.type_name(), &schema(factory))
        .about(factory.summary())
        .hide(is_for_tests(factory.type_name()))
}

/// The options that a schema asks for, and those of every type.
fn with_parameters(type_name: &'static str, schema: &Value) -> Command {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut command = Command::new(type_name).disable_help_subcommand(true);
    for (name, rule) in properties(schema) {
        let mut arg = option(name, rule);
        if required.iter().any(|wanted| wanted == name.as_str()) {
            arg = arg.required(true);
        }
        command = command.arg(arg);
    }
    CommonStorageArgs::augment_args(command)
}

fn option(name: &str, rule: &Value) -> Arg {
    let arg = Arg::new(argument_id(name)).long(option_name(name));
    let help = rule["description"].as_str();
    let help = help.map(|help| help.trim_end_matches('.').to_owned());
    if is_secret(rule) {
        let help = help.unwrap_or_else(|| "Secrets".to_owned());
        let help = format!("{help}; never given here: `-` reads them from stdin, as JSON");
        return arg
            .value_name("-")
            .allow_hyphen_values(true)
            .value_parser(word)
            .help(help);
    }
    let mut arg = arg.value_name(name.to_uppercase().replace('-', "_"));
    if let Some(help) = help {
        arg = arg.help(help);
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

/// Whether a parameter is a secret: it is written and never shown.
fn is_secret(rule: &Value) -> bool {
    rule["writeOnly"] == true
}

fn words(values: &Value) -> Option<Vec<String>> {
    let words = values.as_array()?.iter();
    words.map(|word| word.as_str().map(str::to_owned)).collect()
}

fn read_params(schema: &Value, matches: &ArgMatches) -> Value {
    let mut params = Map::new();
    for (name, rule) in properties(schema).filter(|(_, rule)| !is_secret(rule)) {
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

fn read_secrets(schema: &Value, matches: &ArgMatches) -> Vec<(String, Word)> {
    let secrets = properties(schema).filter(|(_, rule)| is_secret(rule));
    let given = |name: &String| matches.get_one::<Word>(&argument_id(name)).cloned();
    secrets
        .filter_map(|(name, _)| Some((name.clone(), given(name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn s3() -> Value {
        json!({"required": ["s3_url"], "properties": {
            "s3_url": {"type": "string", "description": "Bucket and prefix"},
            "anonymous": {"type": "boolean"},
            "addressing": {"enum": ["path", "virtual"]},
            "credentials": {"type": "object", "writeOnly": true, "description": "Keys."},
            "credentials_file": {"type": "string"},
            "container": {"type": "string"},
        }})
    }

    fn matches(words: &[&str]) -> Result<ArgMatches, clap::Error> {
        let line = ["s3", "--container", "photos", "--s3-url", "s3://b"];
        with_parameters("s3", &s3()).try_get_matches_from(line.iter().chain(words))
    }

    #[test]
    fn a_schema_becomes_options_and_options_parameters() {
        let found = matches(&["--anonymous", "--addressing", "path"]).unwrap();
        let params = json!({"s3_url": "s3://b", "anonymous": true, "addressing": "path"});
        assert_eq!(read_params(&s3(), &found), params);
        assert!(read_secrets(&s3(), &found).is_empty());
        assert!(matches(&["--addressing", "other"]).is_err());
        let error = with_parameters("s3", &s3()).try_get_matches_from(["s3", "--container", "a"]);
        assert!(error.unwrap_err().to_string().contains("--s3-url"));
    }

    #[test]
    fn a_secret_is_an_option_that_takes_no_parameter() {
        let found = matches(&["--credentials", "-"]).unwrap();
        assert_eq!(read_params(&s3(), &found), json!({"s3_url": "s3://b"}));
        let secrets = read_secrets(&s3(), &found);
        assert_eq!(secrets, [("credentials".to_owned(), Word("-".to_owned()))]);
        // Any other word is refused later, without repeating it.
        assert!(matches(&["--credentials", "hush"]).is_ok());
        let help = with_parameters("s3", &s3()).render_help().to_string();
        assert!(
            help.contains("Keys; never given here: `-` reads them from stdin"),
            "{help}"
        );
        assert!(
            help.contains("--credentials-file <CREDENTIALS_FILE>"),
            "{help}"
        );
    }
}
