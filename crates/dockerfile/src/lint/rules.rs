//! The table of rules.

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, or hadolint's code.
    pub name: &'static str,
    /// What it is about.
    pub description: &'static str,
    /// Where more is said.
    pub url: &'static str,
    /// Whether it is on trial: it is silent unless asked for.
    pub experimental: bool,
}

macro_rules! rules {
    ($($constant:ident $name:literal $page:literal $description:literal $($experimental:ident)?;)*) => {
        $(
            #[doc = $description]
            pub(crate) static $constant: Rule = Rule {
                name: $name,
                description: $description,
                url: $page,
                experimental: rules!(@ $($experimental)?),
            };
        )*
        /// All rules.
        pub static RULES: &[&Rule] = &[$(&$constant),*];
    };
    (@) => { false };
    (@ experimental) => { true };
}

rules! {
    STAGE_NAME_CASING "StageNameCasing" "https://docs.docker.com/go/dockerfile/rule/stage-name-casing/"
        "Stage names should be lowercase";
    FROM_AS_CASING "FromAsCasing" "https://docs.docker.com/go/dockerfile/rule/from-as-casing/"
        "The 'as' keyword should match the case of the 'from' keyword";
    NO_EMPTY_CONTINUATION "NoEmptyContinuation" "https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"
        "Empty continuation lines will become errors in a future release";
    CONSISTENT_INSTRUCTION_CASING "ConsistentInstructionCasing" "https://docs.docker.com/go/dockerfile/rule/consistent-instruction-casing/"
        "All commands within the Dockerfile should use the same casing (either upper or lower)";
    DUPLICATE_STAGE_NAME "DuplicateStageName" "https://docs.docker.com/go/dockerfile/rule/duplicate-stage-name/"
        "Stage names should be unique";
    RESERVED_STAGE_NAME "ReservedStageName" "https://docs.docker.com/go/dockerfile/rule/reserved-stage-name/"
        "Reserved words should not be used as stage names";
    JSON_ARGS_RECOMMENDED "JSONArgsRecommended" "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals";
    MAINTAINER_DEPRECATED "MaintainerDeprecated" "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/"
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author";
    UNDEFINED_ARG_IN_FROM "UndefinedArgInFrom" "https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/"
        "FROM command must use declared ARGs";
    WORKDIR_RELATIVE_PATH "WorkdirRelativePath" "https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/"
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes";
    UNDEFINED_VAR "UndefinedVar" "https://docs.docker.com/go/dockerfile/rule/undefined-var/"
        "Variables should be defined before their use";
    MULTIPLE_INSTRUCTIONS_DISALLOWED "MultipleInstructionsDisallowed" "https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/"
        "Multiple instructions of the same type should not be used in the same stage";
    LEGACY_KEY_VALUE_FORMAT "LegacyKeyValueFormat" "https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/"
        "Legacy key/value format with whitespace separator should not be used";
    INVALID_BASE_IMAGE_PLATFORM "InvalidBaseImagePlatform" "https://docs.docker.com/go/dockerfile/rule/invalid-base-image-platform/"
        "Base image platform does not match expected target platform";
    REDUNDANT_TARGET_PLATFORM "RedundantTargetPlatform" "https://docs.docker.com/go/dockerfile/rule/redundant-target-platform/"
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior";
    SECRETS_USED_IN_ARG_OR_ENV "SecretsUsedInArgOrEnv" "https://docs.docker.com/go/dockerfile/rule/secrets-used-in-arg-or-env/"
        "Sensitive data should not be used in the ARG or ENV commands";
    INVALID_DEFAULT_ARG_IN_FROM "InvalidDefaultArgInFrom" "https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/"
        "Default value for global ARG results in an empty or invalid base image name";
    FROM_PLATFORM_FLAG_CONST_DISALLOWED "FromPlatformFlagConstDisallowed" "https://docs.docker.com/go/dockerfile/rule/from-platform-flag-const-disallowed/"
        "FROM --platform flag should not use a constant value";
    COPY_IGNORED_FILE "CopyIgnoredFile" "https://docs.docker.com/go/dockerfile/rule/copy-ignored-file/"
        "Attempting to Copy file that is excluded by .dockerignore";
    INVALID_DEFINITION_DESCRIPTION "InvalidDefinitionDescription" "https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/"
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment." experimental;
    EXPOSE_PROTO_CASING "ExposeProtoCasing" "https://docs.docker.com/go/dockerfile/rule/expose-proto-casing/"
        "Protocol in EXPOSE instruction should be lowercase";
    EXPOSE_INVALID_FORMAT "ExposeInvalidFormat" "https://docs.docker.com/go/dockerfile/rule/expose-invalid-format/"
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release";
    DL3001 "DL3001" "https://github.com/hadolint/hadolint/wiki/DL3001"
        "Programs that manage a machine have no use in a build" experimental;
    DL3002 "DL3002" "https://github.com/hadolint/hadolint/wiki/DL3002"
        "The last user of an image should not be root" experimental;
    DL3003 "DL3003" "https://github.com/hadolint/hadolint/wiki/DL3003"
        "A directory is entered by WORKDIR rather than by cd" experimental;
    DL3004 "DL3004" "https://github.com/hadolint/hadolint/wiki/DL3004"
        "A build needs no sudo; USER says who runs what" experimental;
    DL3006 "DL3006" "https://github.com/hadolint/hadolint/wiki/DL3006"
        "The version of a base image should be named" experimental;
    DL3007 "DL3007" "https://github.com/hadolint/hadolint/wiki/DL3007"
        "The tag latest means another image tomorrow" experimental;
    DL3008 "DL3008" "https://github.com/hadolint/hadolint/wiki/DL3008"
        "The versions of packages that apt-get installs should be named" experimental;
    DL3009 "DL3009" "https://github.com/hadolint/hadolint/wiki/DL3009"
        "The lists of apt-get should not stay in a layer" experimental;
    DL3013 "DL3013" "https://github.com/hadolint/hadolint/wiki/DL3013"
        "The versions of packages that pip installs should be named" experimental;
    DL3014 "DL3014" "https://github.com/hadolint/hadolint/wiki/DL3014"
        "Nobody answers what apt-get asks in a build" experimental;
    DL3015 "DL3015" "https://github.com/hadolint/hadolint/wiki/DL3015"
        "What apt-get only recommends should not be installed" experimental;
    DL3016 "DL3016" "https://github.com/hadolint/hadolint/wiki/DL3016"
        "The versions of packages that npm installs should be named" experimental;
    DL3018 "DL3018" "https://github.com/hadolint/hadolint/wiki/DL3018"
        "The versions of packages that apk adds should be named" experimental;
    DL3019 "DL3019" "https://github.com/hadolint/hadolint/wiki/DL3019"
        "The index of apk should not stay in a layer" experimental;
    DL3020 "DL3020" "https://github.com/hadolint/hadolint/wiki/DL3020"
        "Files of the context are taken by COPY" experimental;
    DL3021 "DL3021" "https://github.com/hadolint/hadolint/wiki/DL3021"
        "Several sources need a directory to go to" experimental;
    DL3027 "DL3027" "https://github.com/hadolint/hadolint/wiki/DL3027"
        "apt is made for people; scripts use apt-get" experimental;
    DL3028 "DL3028" "https://github.com/hadolint/hadolint/wiki/DL3028"
        "The versions of gems should be named" experimental;
    DL3042 "DL3042" "https://github.com/hadolint/hadolint/wiki/DL3042"
        "The cache of pip should not stay in a layer" experimental;
    DL3045 "DL3045" "https://github.com/hadolint/hadolint/wiki/DL3045"
        "A relative destination depends on the base image unless WORKDIR comes first" experimental;
    DL3047 "DL3047" "https://github.com/hadolint/hadolint/wiki/DL3047"
        "The progress of wget fills the log" experimental;
    DL4001 "DL4001" "https://github.com/hadolint/hadolint/wiki/DL4001"
        "One of wget and curl is enough" experimental;
    DL4006 "DL4006" "https://github.com/hadolint/hadolint/wiki/DL4006"
        "A pipe hides failures unless SHELL sets pipefail" experimental;
}
