//! The permissions of the provider's role, each with what it is for. The role in `template.yaml`
//! has these and no others (`tests/template.rs`).

/// A permission of the provider's role.
#[derive(Clone, Copy, Debug)]
pub struct Permission {
    /// The IAM action, as granted.
    pub action: &'static str,
    /// What it is for, as a sentence.
    pub purpose: &'static str,
}

/// Declares what the code calls. A call can name nothing else, and what no call names is dead
/// code to the compiler: [`CALLED`] lists the actions without making any.
macro_rules! called {
    ($($name:ident = $action:literal, $purpose:literal;)+) => {
        /// What a call is called, and the permission it needs.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Action {
            $(#[doc = $purpose] $name,)+
            /// Tells the command line whose account it is in. Nobody needs a permission for it, so
            /// the role has none.
            GetCallerIdentity,
        }

        impl Action {
            /// The IAM action, as granted.
            pub(super) const fn as_granted(self) -> &'static str {
                match self {
                    $(Self::$name => $action,)+
                    Self::GetCallerIdentity => "sts:GetCallerIdentity",
                }
            }
        }

        /// What the code calls itself.
        pub const CALLED: &[Permission] =
            &[$(Permission { action: $action, purpose: $purpose },)+];
    };
}

called! {
    ListBucket = "s3:ListBucket", "Sees that the bucket is there, and whether a folder holds anything before it is removed.";
    GetBucketVersioning = "s3:GetBucketVersioning", "Chooses Illumina's documents, which differ with the bucket's versioning.";
    GetEncryptionConfiguration = "s3:GetEncryptionConfiguration", "Finds the key if the template names none.";
    GetBucketOwnershipControls = "s3:GetBucketOwnershipControls", "Warns of objects that Illumina would own.";
    GetBucketPublicAccessBlock = "s3:GetBucketPublicAccessBlock", "Warns of a bucket that may be made public.";
    GetBucketNotification = "s3:GetBucketNotification", "Warns of notifications that stand in the way of ICA's.";
    GetBucketPolicy = "s3:GetBucketPolicy", "Reads the bucket's policy, to keep what others wrote.";
    PutBucketPolicy = "s3:PutBucketPolicy", "Adds Illumina's statement to the bucket's policy, and takes it out again.";
    DeleteBucketPolicy = "s3:DeleteBucketPolicy", "Removes a bucket policy that held nothing but our statement.";
    GetBucketCORS = "s3:GetBucketCORS", "Reads the bucket's CORS rules, to keep what others wrote.";
    PutBucketCORS = "s3:PutBucketCORS", "Adds ICA's rule to the bucket's CORS rules, and takes it out again.";
    GetObject = "s3:GetObject", "Sees whether the folder is there, and whose it is.";
    PutObject = "s3:PutObject", "Makes the folder.";
    DeleteObject = "s3:DeleteObject", "Removes the folder that was made.";
    DeleteObjectVersion = "s3:DeleteObjectVersion", "Removes the folder that was made in a bucket with versions.";
    DescribeKey = "kms:DescribeKey", "Sees whether the key can be used, and turns an alias into its ARN.";
    GetKeyPolicy = "kms:GetKeyPolicy", "Reads the key's policy, to keep what others wrote.";
    PutKeyPolicy = "kms:PutKeyPolicy", "Adds Illumina's statement to the key's policy, and takes it out again.";
    ListPolicies = "iam:ListPolicies", "Reads the register of connections.";
    GetPolicy = "iam:GetPolicy", "Reads what a connection owns, from the tags of its policy.";
    GetPolicyVersion = "iam:GetPolicyVersion", "Sees whether the policy's document is still right.";
    ListPolicyVersions = "iam:ListPolicyVersions", "Finds the version to give up, of at most five, and those to delete with the policy.";
    ListEntitiesForPolicy = "iam:ListEntitiesForPolicy", "Finds who uses a policy that is to be deleted.";
    CreatePolicy = "iam:CreatePolicy", "Makes the connection's policy.";
    TagPolicy = "iam:TagPolicy", "Records what the connection owns; AWS also asks for it when a policy is made with tags.";
    UntagPolicy = "iam:UntagPolicy", "Takes off tags that the template no longer has.";
    CreatePolicyVersion = "iam:CreatePolicyVersion", "Changes the policy's document.";
    DeletePolicyVersion = "iam:DeletePolicyVersion", "Makes room for a version, and lets the policy be deleted.";
    DeletePolicy = "iam:DeletePolicy", "Deletes the connection's policy.";
    DetachUserPolicy = "iam:DetachUserPolicy", "Takes a policy that is to be deleted from a user.";
    DetachGroupPolicy = "iam:DetachGroupPolicy", "Takes a policy that is to be deleted from a group.";
    DetachRolePolicy = "iam:DetachRolePolicy", "Takes a policy that is to be deleted from a role.";
    DescribeStackResource = "cloudformation:DescribeStackResource", "Sees whether the connection is still being made.";
    DescribeStacks = "cloudformation:DescribeStacks", "Sees whether the stack still waits for the answer.";
}

/// What others do in the role's name; the code calls none of it.
pub const ON_ITS_BEHALF: &[Permission] = &[
    Permission { action: "kms:GenerateDataKey", purpose: "S3 encrypts the folder." },
    Permission { action: "logs:CreateLogStream", purpose: "Lambda opens the function's log." },
    Permission { action: "logs:PutLogEvents", purpose: "Lambda writes the function's log." },
    Permission { action: "sqs:SendMessage", purpose: "Lambda keeps a request that got no answer." },
];
