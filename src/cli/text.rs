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
    let Counts { connections, healthy, drifted, broken, other_regions } = report.counts;
    page.line(&format!(
        "{connections} connections: {healthy} healthy, {drifted} drifted, {broken} broken"
    ));
    if other_regions > 0 {
        page.line(&format!("{other_regions} of other regions were not looked at"));
    }
    page.text
}

fn connection(page: &mut Page, found: &Connection) {
    let (colour, status) = match found.status {
        Status::Healthy => (GREEN, "healthy"),
        Status::Drifted => (YELLOW, "drifted"),
        Status::Broken => (RED, "broken "),
    };
    let stack = found.stack_id.as_deref().unwrap_or("no stack");
    let logical_id = found.logical_resource_id.as_deref().unwrap_or_default();
    let status = page.in_colour(colour, status);
    page.line(&format!("{status} s3://{}/{}", found.bucket_name, found.key_prefix));
    page.line(&format!("        {logical_id} of {stack}"));
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
        let told = match proposal.changes.len() {
            0 => "nothing would be written".to_owned(),
            1 => "1 document would be written".to_owned(),
            count => format!("{count} documents would be written"),
        };
        page.line(&told);
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
