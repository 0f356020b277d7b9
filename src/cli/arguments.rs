//! The arguments of a process → what is asked.

use std::fmt;
use std::io::Read;

use lexopt::prelude::*;
use serde_json::{Map, Value};

use crate::cli::help;
use crate::engine::plan::LOGICAL_ID;
use crate::engine::verify::Filter;

/// What is asked, and how it is to be told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) output: Output,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// A text about this program.
    Tell(&'static str),
    Verify(Filter),
    Plan(Asked),
    /// The properties of a connection, and `Versioning`.
    Policy(Map<String, Value>),
}

/// What is to be planned.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    pub(super) properties: Value,
    pub(super) stack_id: Option<String>,
    pub(super) logical_id: String,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Text,
    Json,
}

/// What is wrong with the arguments.
#[derive(Debug)]
pub(super) struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; see `ica-storage --help`", self.0)
    }
}

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// The options that are properties of the template.
const PROPERTIES: [(&str, &str); 5] = [
    ("bucket", "BucketName"),
    ("prefix", "KeyPrefix"),
    ("kms-key", "KmsKeyId"),
    ("role-arn", "AssumeRoleArn"),
    ("policy-name", "PolicyName"),
];

/// Those without a value.
const SWITCHES: [(&str, &str, bool); 5] = [
    ("root", "AllowBucketRoot", true),
    ("no-cross-account", "CrossAccountAccess", false),
    ("no-key-policy", "ConfigureKeyPolicy", false),
    ("no-bucket-policy", "ConfigureBucketPolicy", false),
    ("no-cors", "ConfigureCors", false),
];

/// What a command takes besides `--output` and `--help`.
const VERIFY: [&str; 3] = ["stack", "logical-id", "bucket"];
const POLICY: [&str; 7] =
    ["bucket", "prefix", "root", "kms-key", "versioning", "role-arn", "no-cross-account"];
const PLAN: [&str; 13] = [
    "bucket",
    "prefix",
    "root",
    "kms-key",
    "role-arn",
    "policy-name",
    "no-cross-account",
    "no-key-policy",
    "no-bucket-policy",
    "no-cors",
    "properties",
    "stack-id",
    "logical-id",
];

/// Reads the arguments.
pub(super) fn parse(mut parser: lexopt::Parser) -> Result<Request, Usage> {
    let tell = |text| Ok(Request { command: Command::Tell(text), output: Output::Text });
    let (name, takes, text): (_, &[&str], _) = match parser.next()? {
        None | Some(Short('h') | Long("help")) => return tell(help::OVERALL),
        Some(Short('V') | Long("version")) => return tell(help::VERSION),
        Some(Value(name)) if name == "verify" => ("verify", &VERIFY, help::VERIFY),
        Some(Value(name)) if name == "plan" => ("plan", &PLAN, help::PLAN),
        Some(Value(name)) if name == "policy" => ("policy", &POLICY, help::POLICY),
        Some(other) => return Err(other.unexpected().into()),
    };
    let mut given = Given::default();
    while let Some(argument) = parser.next()? {
        let option = match argument {
            Short('h') | Long("help") => return tell(text),
            Long("output") => {
                given.output = output(&parser.value()?.string()?)?;
                continue;
            }
            Long(option) if takes.contains(&option) => option.to_owned(),
            other => return Err(other.unexpected().into()),
        };
        given.take(&option, &mut parser)?;
    }
    let output = given.output;
    let command = match name {
        "verify" => Command::Verify(given.filter()),
        "plan" => Command::Plan(given.asked()?),
        _ => Command::Policy(given.members),
    };
    Ok(Request { command, output })
}

/// Options as they were given, by the properties they stand for.
#[derive(Debug)]
struct Given {
    members: Map<String, Value>,
    output: Output,
}

impl Default for Given {
    fn default() -> Self {
        Self { members: Map::new(), output: Output::Text }
    }
}

impl Given {
    fn take(&mut self, option: &str, parser: &mut lexopt::Parser) -> Result<(), Usage> {
        if let Some((_, name, value)) = SWITCHES.iter().find(|(switch, ..)| *switch == option) {
            self.members.insert((*name).to_owned(), (*value).into());
            return Ok(());
        }
        let value = parser.value()?.string()?;
        let name = PROPERTIES.iter().find(|(property, _)| *property == option);
        let name = name.map_or(option, |(_, name)| *name).to_owned();
        if self.members.insert(name, value.into()).is_some() {
            return Err(Usage(format!("`--{option}` is given twice")));
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Option<String> {
        self.members.shift_remove(name)?.as_str().map(str::to_owned)
    }

    fn filter(mut self) -> Filter {
        Filter {
            stack: self.remove("stack"),
            logical_id: self.remove("logical-id"),
            bucket: self.remove("BucketName"),
        }
    }

    fn asked(mut self) -> Result<Asked, Usage> {
        let stack_id = self.remove("stack-id");
        let logical_id = self.remove("logical-id").unwrap_or_else(|| LOGICAL_ID.to_owned());
        let Some(file) = self.remove("properties") else {
            return Ok(Asked { properties: self.members.into(), stack_id, logical_id });
        };
        if !self.members.is_empty() {
            return Err(Usage(
                "`--properties` has all properties; leave the others out".to_owned(),
            ));
        }
        let unread = |error: &dyn fmt::Display| Usage(format!("`{file}` cannot be read: {error}"));
        let mut text = String::new();
        if file == "-" {
            std::io::stdin().read_to_string(&mut text).map_err(|error| unread(&error))?;
        } else {
            text = std::fs::read_to_string(&file).map_err(|error| unread(&error))?;
        }
        let properties = serde_json::from_str(&text).map_err(|error| unread(&error))?;
        Ok(Asked { properties, stack_id, logical_id })
    }
}

fn output(value: &str) -> Result<Output, Usage> {
    match value {
        "text" => Ok(Output::Text),
        "json" => Ok(Output::Json),
        other => Err(Usage(format!("`--output {other}`: write `text` or `json`"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        let arguments = std::iter::once("ica-storage").chain(line.split_whitespace());
        parse(lexopt::Parser::from_iter(arguments)).map_err(|usage| usage.to_string())
    }

    #[test]
    fn every_option_is_read_and_told() {
        for (command, takes, text) in [
            ("verify", VERIFY.as_slice(), help::VERIFY),
            ("plan", &PLAN, help::PLAN),
            ("policy", &POLICY, help::POLICY),
        ] {
            for option in takes {
                assert!(text.contains(&format!("--{option} ")), "{command} --{option}");
                let value = if SWITCHES.iter().any(|(switch, ..)| switch == option) {
                    ""
                } else {
                    "/dev/null"
                };
                let read = parsed(&format!("{command} --{option} {value}"));
                let is_file = *option == "properties";
                assert_eq!(read.is_ok(), !is_file, "{command} --{option}: {read:?}");
            }
            let told = text.split_whitespace().filter_map(|word| word.strip_prefix("--"));
            for option in told.map(|word| word.trim_end_matches([',', ')'])) {
                let is_read = takes.contains(&option) || ["output", "help"].contains(&option);
                assert!(is_read, "{command} --{option}");
            }
            assert_eq!(parsed(&format!("{command} --help")).unwrap().command, Command::Tell(text));
        }
        assert_eq!(parsed("").unwrap().command, Command::Tell(help::OVERALL));
        assert_eq!(parsed("--version").unwrap().command, Command::Tell(help::VERSION));
    }

    #[test]
    fn options_are_the_properties_of_a_template() {
        let line = "plan --bucket b --prefix=p/ --kms-key alias/lab --no-cors --logical-id L --output json";
        let Request { command: Command::Plan(asked), output } = parsed(line).unwrap() else {
            panic!("{line} is a plan");
        };
        assert_eq!(output, Output::Json);
        assert_eq!(asked.logical_id, "L");
        let expected = json!({"BucketName": "b", "KeyPrefix": "p/", "KmsKeyId": "alias/lab", "ConfigureCors": false});
        assert_eq!(asked.properties, expected);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (line, expected) in [
            ("destroy", "unexpected argument"),
            ("verify --prefix a", "invalid option '--prefix'"),
            ("verify --bucket", "missing argument for option '--bucket'"),
            ("verify --bucket a --bucket b", "`--bucket` is given twice"),
            ("plan --output yaml", "write `text` or `json`"),
            ("plan --properties /no/such/file", "`/no/such/file` cannot be read: "),
            ("plan --properties - --bucket b", "`--properties` has all properties"),
        ] {
            let usage = parsed(line).unwrap_err();
            assert!(usage.contains(expected), "{line}: {usage}");
            assert!(usage.ends_with("; see `ica-storage --help`"), "{usage}");
        }
    }
}
