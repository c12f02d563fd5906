package config

// The names of what can be wrong, as Problem.Rule has them. `epmesh check
// --rules` lists them with those of what is found by looking at several files
// or steps together; authors write them to silence a finding.
const (
	RuleSyntax          = "yaml-syntax"
	RuleTooLarge        = "too-large"
	RuleTooMany         = "too-many-findings"
	RuleFileNotRead     = "file-not-read"
	RuleEmptyFile       = "empty-file"
	RuleIgnoredDocument = "ignored-document"
	RuleUnknownKey      = "unknown-key"
	RuleDuplicateKey    = "duplicate-key"
	RuleReplacedKey     = "replaced-key"
	RuleIgnoredKey      = "ignored-key"
	RuleWrongType       = "wrong-type"
	RuleYAMLVersion     = "yaml-version"
	RuleStepKind        = "step-kind"
	RuleNoDataTypes     = "no-data-types"
	RulePluginName      = "plugin-name"
	RuleDuplicateValue  = "duplicate-value"
	RuleBadTenant       = "bad-tenant"
	RuleBadSetting      = "bad-setting"
	RuleIncompleteRule  = "incomplete-rule"
	RuleBadValue        = "bad-value"
	RuleBadCase         = "bad-case"
)
