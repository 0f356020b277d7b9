//! What is told, for a reader at a terminal.

use std::fmt::Write;

use serde_json::Value;

use crate::cli::documents::Documents;
use crate::domain::report::{Connection, Counts, Proposal, Report, Status};

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// A page that is written line by line, with or without colours.
struct Page {
    text: String,
    has_colours: bool,
}

impl Page {
    fn new(has_colours: bool) -> Self {
        Self { text: String::new(), has_colours }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn in_colour(&self, colour: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Every connection, what is wrong with it, and how many are how.
pub(super) fn report(report: &Report, has_colours: bool) -> String {
    let mut page = Page::new(has_colours);
    for found in &report.connections {
        connection(&mut page, found);
    }
    let Counts { connections, healthy, drifted, broken, elsewhere } = report.counts;
    page.line(&format!(
        "{}: {healthy} healthy, {drifted} drifted, {broken} broken",
        counted(connections, "connection")
    ));
    if elsewhere > 0 {
        page.line(&format!("{elsewhere} of other regions or providers were not looked at"));
    }
    page.text
}

fn connection(page: &mut Page, found: &Connection) {
    let (colour, status) = match found.status {
        Status::Healthy => (GREEN, "healthy"),
        Status::Drifted => (YELLOW, "drifted"),
        Status::Broken => (RED, "broken "),
    };
    let whose = match (&found.logical_resource_id, &found.stack_id) {
        (Some(logical_id), Some(stack)) => format!("{logical_id} of {stack}"),
        (None, _) | (_, None) => "of nobody that is recorded".to_owned(),
    };
    let status = page.in_colour(colour, status);
    page.line(&format!("{status} s3://{}/{}", found.bucket_name, found.key_prefix));
    page.line(&format!("        {whose}"));
    for finding in &found.findings {
        page.line(&format!("    {} of {}", finding.what, finding.r#where));
        if !finding.expected.is_null() {
            page.line(&format!("        expected  {}", shown(&finding.expected)));
        }
        page.line(&format!("        found     {}", shown(&finding.found)));
        page.line(&format!("        remedy    {}", finding.remedy));
    }
    warnings(page, &found.warnings);
}

/// What would be refused, or written.
pub(super) fn proposal(proposal: &Proposal, has_colours: bool) -> String {
    let mut page = Page::new(has_colours);
    for refusal in &proposal.refusals {
        let code = page.in_colour(RED, &refusal.code);
        let (property, problem, remedy) = (&refusal.property, &refusal.problem, &refusal.remedy);
        page.line(&format!("{code}: property `{property}`: {problem}; {remedy}"));
    }
    for line in proposal.changes.iter().flat_map(|change| change.diff.lines()) {
        let colour = match line.chars().next() {
            Some('+') => GREEN,
            Some('-') => RED,
            Some('@') => CYAN,
            Some(_) | None => "0",
        };
        let line = page.in_colour(colour, line);
        page.line(&line);
    }
    warnings(&mut page, &proposal.warnings);
    if proposal.refusals.is_empty() {
        let what = match proposal.changes.len() {
            0 => "nothing".to_owned(),
            count => counted(count, "document"),
        };
        page.line(&format!("{what} would be written"));
    }
    page.text
}

/// Each document under what it is for.
pub(super) fn documents(documents: &Documents) -> String {
    let mut text = String::new();
    let none = Value::Null;
    for (heading, document) in [
        ("IAM policy for ICA's credential", &documents.policy),
        ("Statement for the key policy", documents.key_policy_statement.as_ref().unwrap_or(&none)),
        (
            "Statement for the bucket policy",
            documents.bucket_policy_statement.as_ref().unwrap_or(&none),
        ),
        ("CORS rule for the bucket", &documents.cors_rule),
        ("Storage configuration in ICA", &documents.storage_configuration),
    ] {
        if !document.is_null() {
            // Writing to a string cannot fail.
            write!(text, "# {heading}\n{document:#}\n\n").unwrap_or_default();
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn warnings(page: &mut Page, warnings: &[String]) {
    for warning in warnings {
        let label = page.in_colour(YELLOW, "warning:");
        page.line(&format!("    {label} {warning}"));
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::report::{Difference, Finding};

    fn broken() -> Report {
        let finding = Finding {
            what: "property `KmsKeyId`".into(),
            r#where: "s3://b/p/".into(),
            expected: Value::Null,
            found: "key `k` is disabled".into(),
            remedy: "enable it".into(),
        };
        let connection = Connection {
            stack_id: None,
            logical_resource_id: None,
            bucket_name: "b".into(),
            key_prefix: "p/".into(),
            policy_arn: "arn".into(),
            status: Status::Broken,
            findings: vec![finding],
            warnings: vec!["look".into()],
        };
        Report::of(vec![connection], 2)
    }

    #[test]
    fn a_report_reads_from_the_place_to_the_remedy() {
        insta::assert_snapshot!(report(&broken(), false));
    }

    #[test]
    fn colours_change_nothing_but_the_colour() {
        let diff = "--- a\n+++ b\n@@ -0,0 +1 @@\n+c\n d\n".to_owned();
        let found = Some(json!({}));
        let change =
            Difference { what: "w".into(), r#where: "x".into(), found, planned: None, diff };
        let changes = vec![change];
        let planned =
            Proposal { policy_arn: None, refusals: vec![], changes, warnings: vec!["look".into()] };
        let pages = [
            (proposal(&planned, true), proposal(&planned, false)),
            (report(&broken(), true), report(&broken(), false)),
        ];
        for (colourful, plain) in pages {
            assert!(colourful.contains("\x1b[31m") && !plain.contains('\x1b'), "{colourful}");
            let codes = ["31", "32", "33", "36", "0"].map(|code| format!("\x1b[{code}m"));
            let stripped = codes.iter().fold(colourful, |text, code| text.replace(code, ""));
            assert_eq!(stripped, plain);
        }
    }
}
