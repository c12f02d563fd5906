package lint

import (
	"slices"
	"strings"

	"github.com/epmesh/epmesh/config"
	"github.com/epmesh/epmesh/node/expr"
)

// Rule is one kind of mistake.
type Rule struct {
	Name     string
	Severity config.Severity // what its findings usually have
	About    string          // one line
}

// Rules are all rules, sorted by name. docs/check.md explains each.
func Rules() []Rule { return slices.Clone(rules) }

// The names of the rules that are found here.
const (
	badExpression       = "bad-expression"
	badStep             = "bad-step"
	badLayout           = "bad-layout"
	badSearch           = "bad-search"
	missingSetting      = "missing-setting"
	neverMatches        = "never-matches"
	mayMatchEmpty       = "may-match-empty"
	nothingLeft         = "nothing-left"
	noEffect            = "no-effect"
	renamedToItself     = "renamed-to-itself"
	reservedField       = "reserved-field"
	badFieldName        = "bad-field-name"
	changedName         = "changed-name"
	unknownField        = "unknown-field"
	unwrittenField      = "unwritten-field"
	deletedField        = "deleted-field"
	misspeltField       = "misspelt-field"
	repeatedField       = "repeated-field"
	wrongFieldType      = "wrong-field-type"
	uncheckedNumber     = "unchecked-number"
	unreachableStep     = "unreachable-step"
	overwrittenStep     = "overwritten-step"
	duplicatePipeline   = "duplicate-pipeline"
	shadowedPipeline    = "shadowed-pipeline"
	overlappingPipeline = "overlapping-pipelines"
	duplicateRule       = "duplicate-rule"
	unguardedValue      = "unguarded-value"
	unknownDataType     = "unknown-data-type"
	misspeltDataType    = "misspelt-data-type"
	unknownRuleID       = "unknown-rule-id"
	unknownPlugin       = "unknown-plugin"
	badPluginSettings   = "bad-plugin-settings"
	unknownRule         = "unknown-rule"
	unusedIgnore        = "unused-ignore"
)

var rules = sorted([]Rule{
	{config.RuleSyntax, config.Error, "the file is no YAML that can be read"},
	{config.RuleTooLarge, config.Error, "the file is larger, or nests deeper, than is read"},
	{config.RuleTooMany, config.Warning, "a file has more findings than are listed"},
	{config.RuleFileNotRead, config.Warning, "a file or folder that is there is not read"},
	{config.RuleEmptyFile, config.Warning, "the file says nothing"},
	{config.RuleIgnoredDocument, config.Warning, "what follows the first document of a file is not read"},
	{config.RuleUnknownKey, config.Warning, "a key means nothing and is ignored; a mistake in writing, most often"},
	{config.RuleDuplicateKey, config.Warning, "a key is given twice, and only the last counts"},
	{config.RuleReplacedKey, config.Warning, "a later file replaces as a whole what an earlier one says"},
	{config.RuleIgnoredKey, config.Warning, "a key has no effect here"},
	{config.RuleWrongType, config.Error, "a value is of another type than it must be"},
	{config.RuleYAMLVersion, config.Warning, "the reference engine reads the value otherwise: YAML 1.1 and 1.2 differ"},
	{config.RuleStepKind, config.Error, "a step is of no, of an unknown or of more than one kind"},
	{config.RuleNoDataTypes, config.Warning, "a pipeline or rule without dataTypes never runs"},
	{config.RulePluginName, config.Error, "this cannot be the name of a plugin"},
	{config.RuleDuplicateValue, config.Warning, "a list holds a value twice"},
	{config.RuleBadTenant, config.Warning, "a tenant has no id, or one that is taken"},
	{config.RuleBadSetting, config.Error, "a setting of the node cannot work"},
	{config.RuleIncompleteRule, config.Error, "a rule has no name, or no condition"},
	{config.RuleBadValue, config.Error, "a value is none of those that mean something"},
	{config.RuleBadCase, config.Error, "a case of epmesh test cannot be run, or wants what cannot be"},

	{expr.BadRegexp, config.Error, "a regular expression does not compile"},
	{expr.UnknownPattern, config.Error, "{{.name}} refers to a pattern that is not there"},
	{expr.BadArgument, config.Error, "an argument makes a function always true or always false"},
	{expr.PathNotQuoted, config.Error, "the path in a condition is not in quotes"},
	{expr.AlwaysFalse, config.Error, "a condition can never be true"},
	{expr.AlwaysTrue, config.Warning, "a condition, or a search, is always true"},
	{expr.DeadCondition, config.Warning, "a part of a condition can never be true"},
	{expr.MatchesEverything, config.Warning, "a regular expression matches every text"},
	{expr.PathEscape, config.Warning, "a backslash of a path begins a class of characters in a regular expression"},

	{badExpression, config.Error, "a condition does not compile"},
	{badStep, config.Error, "a step cannot be run"},
	{badLayout, config.Error, "a time layout is an example of a time, and no layout"},
	{badSearch, config.Error, "a history search of a rule cannot be run"},
	{missingSetting, config.Error, "a step lacks a setting that it needs"},
	{neverMatches, config.Error, "a step can never match: its pattern takes nothing, or begins with white space, which is trimmed"},
	{mayMatchEmpty, config.Warning, "a grok fails where this pattern matches the empty text"},
	{nothingLeft, config.Warning, "a pattern takes the rest of the line, so those after it find nothing"},
	{noEffect, config.Warning, "a step or setting does nothing"},
	{renamedToItself, config.Error, "a field that is renamed to itself, or below itself, is gone"},
	{reservedField, config.Error, "raw and @timestamp cannot be written"},
	{badFieldName, config.Error, "a field cannot be written by that name"},
	{changedName, config.Warning, "a field is written under another name: only letters, digits, _ and dots stay"},
	{unknownField, config.Error, "a field is not in the common schema, so that it vanishes from the event or is never there"},
	{unwrittenField, config.Warning, "a field is read that nothing writes"},
	{deletedField, config.Warning, "a field is read after it was deleted or moved"},
	{misspeltField, config.Warning, "a field is read that is written under nearly the same name"},
	{repeatedField, config.Note, "one step writes a field twice; the last wins"},
	{wrongFieldType, config.Error, "a field gets a value that cannot stand in it, so that the event is lost to the dead letters"},
	{uncheckedNumber, config.Warning, "a number field gets a text that may be no number"},
	{unreachableStep, config.Error, "a step stands after one that drops every log"},
	{overwrittenStep, config.Warning, "a later step does the same under the same condition, and wins"},
	{duplicatePipeline, config.Warning, "two pipelines for one data type are the same"},
	{shadowedPipeline, config.Warning, "an earlier pipeline drops every log before this one"},
	{overlappingPipeline, config.Note, "two pipelines list one data type, and both run"},
	{duplicateRule, config.Error, "two rules have one name or id"},
	{unguardedValue, config.Warning, "a search needs a value that the event need not have"},
	{unknownDataType, config.Note, "no pipeline that is checked lists the data type"},
	{misspeltDataType, config.Warning, "no pipeline lists the data type, but one nearly of that name"},
	{unknownRuleID, config.Warning, "no rule has the id that is turned off"},
	{unknownPlugin, config.Warning, "no such plugin is in the work dir, or comes with epmesh"},
	{badPluginSettings, config.Error, "a bundled plugin refuses its settings"},
	{unknownRule, config.Warning, "a comment silences a rule that does not exist"},
	{unusedIgnore, config.Warning, "a comment silences nothing"},
})

var named = func() map[string]Rule {
	m := make(map[string]Rule, len(rules))
	for _, r := range rules {
		m[r.Name] = r
	}
	return m
}()

func sorted(list []Rule) []Rule {
	slices.SortFunc(list, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// ruleNames are the names of all rules.
func ruleNames() []string {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = r.Name
	}
	return names
}
