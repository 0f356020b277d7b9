//! What the command line says about itself.

/// Name and version.
pub(super) const VERSION: &str = concat!("ica-storage ", env!("CARGO_PKG_VERSION"), "\n");

/// Of the whole.
pub(super) const OVERALL: &str = "\
Looks at the connections of S3 buckets to Illumina Connected Analytics. Writes nothing.

Usage: ica-storage <command> [options]

Commands:
  verify   tell which connections are no longer what their templates say
  plan     show what a template's properties would write
  policy   print the documents that a connection needs, without asking AWS

Options:
  -h, --help      this text, or that of a command
  -V, --version   the version

`verify` and `plan` use your own AWS credentials and region (AWS_PROFILE, AWS_REGION, …).

Exit codes: 0 nothing to do, 1 drift, changes or refusals, 2 wrong usage or no answer from AWS
";

/// Of `verify`.
pub(super) const VERIFY: &str = "\
Tells which connections of the account and region are no longer what their templates say.

Usage: ica-storage verify [options]

Options:
      --stack <name or ARN>   only those of this stack
      --logical-id <name>     only those of this name in a template
      --bucket <name>         only those of this bucket
      --output <text|json>    how to print it (default: text)
  -h, --help                  this text

Exit codes: 0 all are healthy, 1 some drifted or are broken, 2 wrong usage or no answer from AWS
";

/// Of `plan`.
pub(super) const PLAN: &str = "\
Shows what a Create or an Update with these properties would write, as a diff.

Usage: ica-storage plan --bucket <name> --prefix <folder> [options]
       ica-storage plan --properties <file> [options]

Properties:
      --bucket <name>           BucketName
      --prefix <folder>         KeyPrefix
      --root                    AllowBucketRoot: true
      --kms-key <key>           KmsKeyId: key id, key ARN, alias name or alias ARN
      --role-arn <ARN>          AssumeRoleArn
      --policy-name <name>      PolicyName
      --no-cross-account        CrossAccountAccess: false
      --no-key-policy           ConfigureKeyPolicy: false
      --no-bucket-policy        ConfigureBucketPolicy: false
      --no-cors                 ConfigureCors: false
      --properties <file>       all of them as a JSON object, as in a template; - reads standard input

Options:
      --stack-id <ARN>          the stack whose connection it is; else whoever has the place, or a new one
      --logical-id <name>       its name in the template (default: Connection)
      --output <text|json>      how to print it (default: text)
  -h, --help                    this text

Exit codes: 0 nothing would be written, 1 something would be written or refused,
2 wrong usage or no answer from AWS
";

/// Of `policy`.
pub(super) const POLICY: &str = "\
Prints the documents that a connection needs, for those who paste them. Does not ask AWS.

Usage: ica-storage policy --bucket <name> --prefix <folder> --kms-key <key ARN> [options]

Options:
      --bucket <name>           the bucket
      --prefix <folder>         the folder ICA gets
      --root                    the whole bucket instead of a folder
      --kms-key <key ARN>       the key that encrypts the bucket
      --versioning <state>      Unversioned, Enabled or Suspended (default: Unversioned)
      --role-arn <ARN>          Illumina's role (default: that of the key's region)
      --no-cross-account        without the statements that let Illumina's role copy and move data
      --output <text|json>      how to print it (default: text)
  -h, --help                    this text

Exit codes: 0 printed, 2 wrong usage
";
