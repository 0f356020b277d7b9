//! The rules of the house.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines without its tests.
const LINES_MAX: usize = 400;

/// Every Rust source, as `engine/ensure.rs`, with its text before the tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = vec![];
    walk(Path::new("src"), &mut found);
    let mut sources: Vec<(String, String)> = found
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (path.strip_prefix("src").unwrap().display().to_string(), code)
        })
        .collect();
    sources.sort();
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// What each layer may name: itself and what is below it.
#[test]
fn no_layer_knows_the_one_above() {
    for (file, code) in sources() {
        let layer = file.trim_end_matches(".rs").split('/').next().unwrap_or_default();
        let forbidden: &[&str] = match layer {
            "domain" => &[
                "aws_sdk",
                "aws_config",
                "tokio",
                "reqwest",
                "crate::ports",
                "crate::engine",
                "crate::aws",
                "crate::cloudformation",
                "crate::callback",
                "async fn",
                "SystemTime",
            ],
            "cloudformation" => &[
                "aws_sdk",
                "aws_config",
                "tokio",
                "reqwest",
                "crate::ports",
                "crate::engine",
                "crate::aws::",
                "crate::callback",
                "async fn",
            ],
            "ports" => &[
                "aws_sdk",
                "aws_config",
                "tokio",
                "reqwest",
                "crate::engine",
                "crate::aws",
                "crate::callback",
            ],
            "engine" => {
                &["aws_sdk", "aws_config", "reqwest", "crate::aws", "crate::callback", "std::env"]
            }
            "aws" | "callback" => &["crate::engine"],
            "metrics" | "log" => &["aws_sdk", "tokio", "crate::engine", "crate::aws"],
            "provider" | "actions" => {
                &["aws_sdk", "aws_config", "reqwest", "crate::aws", "std::env"]
            }
            "cli" => &["aws_sdk", "aws_config", "reqwest", "std::env", "crate::callback"],
            "main" | "lib" => &[],
            other => panic!("{other} is in no layer"),
        };
        for name in forbidden {
            assert!(!code.contains(name), "{file} names {name}");
        }
    }
}

#[test]
fn every_file_is_one_thought() {
    for (file, code) in sources() {
        let lines = code.lines().count();
        assert!(lines <= LINES_MAX, "{file} has {lines} lines");
        assert!(
            code.starts_with("//! ") || code.starts_with("#![doc"),
            "{file} does not say what it is"
        );
    }
}

/// An override says why, and there are no others.
#[test]
fn every_exception_has_its_reason() {
    for (file, code) in sources() {
        assert!(!code.contains("#[allow"), "{file}");
        assert_eq!(code.matches("#[expect").count(), code.matches("reason = ").count(), "{file}");
    }
}

/// The presigned address is handed out to the one that PUTs to it.
#[test]
fn only_the_callback_sees_the_address() {
    for (file, code) in sources() {
        let exposes = code.contains(".expose()");
        assert_eq!(exposes, file == "callback.rs", "{file}");
    }
}

#[test]
fn the_direct_dependencies_are_few() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let count = section.lines().filter(|line| line.contains(" = ")).count();
    assert!(count <= 22, "{count} direct dependencies");
}

/// One TLS stack, and the one the SDK has.
#[test]
fn there_is_one_tls_stack() {
    let lock = fs::read_to_string("Cargo.lock").unwrap();
    let has = |name: &str| lock.contains(&format!("name = \"{name}\"\n"));
    assert_eq!(lock.matches("name = \"rustls\"\n").count(), 1);
    for other in ["native-tls", "openssl", "openssl-sys"] {
        assert!(!has(other), "{other}");
    }
}

/// A panic that aborts is a stack that waits.
#[test]
fn a_panic_unwinds_in_every_profile() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    assert!(!manifest.lines().any(|line| line.starts_with("panic = \"abort")));
}

/// A bucket of that name in another account is not the one that was meant.
#[test]
fn every_call_to_s3_names_the_owner_of_the_bucket() {
    let code = fs::read_to_string("src/aws/s3.rs").unwrap();
    let calls = code.matches(".bucket(bucket.name)").count();
    assert!(calls > 10, "{calls} calls");
    assert_eq!(code.matches(".expected_bucket_owner(bucket.owner)").count(), calls);
}

/// The tests of a file: of Rust those with the attribute, of Python those with the prefix.
fn tests(file: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut is_next = false;
    let mut names = vec![];
    for line in text.lines().map(str::trim_start) {
        is_next |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let rust = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        let rust = rust.filter(|_| std::mem::take(&mut is_next));
        let python = line.strip_prefix("def ").filter(|rest| rest.starts_with("test_"));
        let name = rust.or(python).and_then(|rest| rest.split_once('('));
        names.extend(name.map(|(name, _)| name.to_owned()));
    }
    names
}

/// The file of a test, and its own name, by the name that its runner prints.
fn located(test: &str) -> (String, &str) {
    let (path, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("`{test}` has no path"));
    let file = match path.strip_suffix("::tests") {
        None if path.starts_with("tests/e2e/") => path.to_owned(),
        None => format!("tests/{}.rs", path.replace("::", "/")),
        Some(unit) => format!("src/{}.rs", unit.replace("::", "/")),
    };
    (file, name)
}

/// The page of promises and the tests keep step: no promise without a test, and no law untold.
#[test]
fn every_guarantee_names_a_test_that_exists() {
    let page = fs::read_to_string("docs/guarantees.md").unwrap();
    let mut named = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ") && !line.ends_with(" Proven by |"))
    {
        let [_, _, proof, _] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row}") };
        assert!(proof.contains('`'), "not proven: {row}");
        for test in proof.split('`').skip(1).step_by(2) {
            let (file, name) = located(test);
            assert!(tests(&file).iter().any(|other| other == name), "there is no test {test}");
            named.insert(test);
        }
    }
    for folder in ["hostile", "lifecycle", "sharing"] {
        for entry in fs::read_dir(format!("tests/{folder}")).unwrap() {
            let file = entry.unwrap().path();
            let path = format!("{folder}::{}", file.file_stem().unwrap().display());
            for law in tests(&file.display().to_string()) {
                assert!(named.contains(&*format!("{path}::{law}")), "{path}::{law} is not told");
            }
        }
    }
}

/// The security page names tests as the page of promises does.
#[test]
fn every_test_that_the_security_page_names_exists() {
    let page = fs::read_to_string("SECURITY.md").unwrap();
    let named: Vec<&str> =
        page.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
    assert!(named.len() > 15, "{named:?}");
    for test in named {
        let (file, name) = located(test);
        assert!(tests(&file).iter().any(|other| other == name), "there is no test {test}");
    }
}

/// `pip install --require-hashes` would refuse others, but only where somebody gives it that switch.
#[test]
fn every_python_package_is_pinned_with_its_hashes() {
    let lock = fs::read_to_string("local/requirements.txt").unwrap();
    let lock = lock.replace("\\\n", " ");
    let packages: Vec<&str> =
        lock.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    assert!(packages.len() > 50, "{} packages", packages.len());
    for package in packages {
        assert!(package.contains("==") && package.contains("--hash=sha256:"), "{package}");
    }
    let makefile = fs::read_to_string("Makefile").unwrap();
    for line in makefile.lines().filter(|line| line.contains("pip install")) {
        assert!(line.contains("--require-hashes"), "{line}");
    }
}
