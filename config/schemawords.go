package config

// messageWord says of a message what its descriptor does not.
type messageWord struct {
	required []string
	onlyOne  bool // of its fields
}

// fieldWord says it of a field.
type fieldWord struct {
	text       string
	oneOf      []any // the texts that are known
	needed     bool  // not empty, not null
	most       int   // of a number; 0 for no bound
	otherwise  any   // what holds without it
	deprecated bool
	// schema replaces what the type alone would give.
	schema func(*schemaBuilder) map[string]any
}

var messageWords = map[string]messageWord{
	"Pipeline":      {required: []string{"dataTypes", "steps"}},
	"Step":          {onlyOne: true},
	"Kv":            {required: []string{"fieldSplit", "valueSplit"}},
	"Csv":           {required: []string{"headers"}},
	"Grok":          {required: []string{"patterns"}},
	"Pattern":       {required: []string{"pattern"}},
	"Rename":        {required: []string{"from", "to"}},
	"Cast":          {required: []string{"fields", "to"}},
	"Trim":          {required: []string{"function", "fields"}},
	"Reformat":      {required: []string{"function", "fields", "fromFormat", "toFormat"}},
	"Add":           {required: []string{"function", "params"}},
	"Delete":        {required: []string{"fields"}},
	"Dynamic":       {required: []string{"plugin"}},
	"Tenant":        {required: []string{"id"}},
	"Rule":          {required: []string{"name", "dataTypes"}},
	"SearchRequest": {required: []string{"indexPattern", "with", "within"}},
	"Expression":    {required: []string{"field", "operator", "value"}},
}

const (
	whereText   = "A condition in CEL: the step runs where it is true. Example: equals(\"log.action\", \"deny\") && exists(\"log.user\")"
	sourceWords = "The field that holds the text."
	fieldsText  = "The fields, by their dotted paths; missing ones are skipped."
)

var (
	where  = fieldWord{text: whereText}
	source = fieldWord{text: sourceWords, otherwise: "raw"}
	paths  = fieldWord{text: fieldsText, needed: true}
)

var fieldWords = map[string]fieldWord{
	"Config.pipeline":      {text: "What becomes of the logs. All pipelines that list a log's data type run, in order."},
	"Config.disabledRules": {text: "The ids of rules that do not run."},
	"Config.tenants":       {text: "The tenants, by their ids."},
	"Config.patterns":      {text: "Named regular expressions, which others use as {{.name}}."},
	"Config.plugins":       {text: "What plugins a stage has, and the settings of each plugin by its name.", schema: pluginsSchema},
	"Config.env":           {text: "Not read from files: set NODE_NAME, NODE_GROUPS, LOG_LEVEL and MODE in the environment.", deprecated: true},

	"Env.nodeName": {text: "Not read from files: set NODE_NAME.", deprecated: true}, "Env.nodeGroups": {text: "Not read from files: set NODE_GROUPS.", deprecated: true},
	"Env.logLevel": {text: "Not read from files: set LOG_LEVEL.", deprecated: true}, "Env.mode": {text: "Not read from files: set MODE.", deprecated: true},

	"Tenant.name":           {text: "The name that events of the tenant bear."},
	"Tenant.id":             {text: "The id that logs of the tenant come with.", needed: true},
	"Tenant.assets":         {text: "What the tenant owns."},
	"Tenant.disabledRules":  {text: "The ids of rules that do not run for the tenant."},
	"Asset.name":            {text: "The asset's name."},
	"Asset.hostnames":       {text: "The names of its hosts."},
	"Asset.ips":             {text: "Its addresses."},
	"Asset.confidentiality": {text: "What a loss of confidentiality would mean, 0 to 3.", most: 3},
	"Asset.availability":    {text: "What a loss of availability would mean, 0 to 3.", most: 3},
	"Asset.integrity":       {text: "What a loss of integrity would mean, 0 to 3.", most: 3},

	"Pipeline.dataTypes": {text: "The types of the logs that the pipeline is for.", needed: true},
	"Pipeline.steps":     {text: "What is done with the log, in order. Each step is of one kind."},

	"Step.json":     {text: "Reads a JSON object into fields below log."},
	"Step.kv":       {text: "Reads key=value pairs into fields below log."},
	"Step.csv":      {text: "Reads the columns of a line into fields."},
	"Step.xml":      {text: "Reads an XML document into fields below log."},
	"Step.grok":     {text: "Cuts a text into fields, pattern by pattern from its start: all or nothing."},
	"Step.rename":   {text: "Moves fields to another name."},
	"Step.cast":     {text: "Gives fields another type; what cannot be converted becomes zero."},
	"Step.trim":     {text: "Removes text from the ends of fields, or from within."},
	"Step.reformat": {text: "Rewrites times from one format to another."},
	"Step.add":      {text: "Sets a field to a constant text."},
	"Step.delete":   {text: "Deletes fields."},
	"Step.drop":     {text: "Discards the log where the condition holds."},
	"Step.dynamic":  {text: "Hands the draft to a parsing plugin."},

	"Json.source": source, "Json.where": where,
	"Xml.source": source, "Xml.where": where,
	"Kv.source": source, "Kv.where": where,
	"Kv.fieldSplit":  {text: "What stands between pairs.", needed: true},
	"Kv.valueSplit":  {text: "What stands between a key and its value.", needed: true},
	"Csv.source":     source,
	"Csv.where":      where,
	"Csv.separator":  {text: "What stands between columns.", otherwise: ","},
	"Csv.headers":    {text: "Where each column goes: as many paths as columns.", needed: true},
	"Grok.source":    source,
	"Grok.where":     where,
	"Grok.patterns":  {text: "What is taken, in order.", needed: true},
	"Rename.where":   where,
	"Rename.from":    {text: "The fields, by their dotted paths. Of several that exist the last wins.", needed: true},
	"Rename.to":      {text: "Where they go. Characters other than letters, digits, _ and . are removed from it.", needed: true},
	"Cast.where":     where,
	"Cast.fields":    paths,
	"Cast.to":        {text: "The type.", oneOf: []any{"int", "float", "string", "bool", "[]string"}},
	"Trim.where":     where,
	"Trim.fields":    paths,
	"Trim.function":  {text: "What is removed: the text once from the start or the end, wherever it stands, or what a regular expression matched.", oneOf: []any{"prefix", "suffix", "substring", "regex"}},
	"Trim.substring": {text: "The text, or with function regex the regular expression."},

	"Pattern.fieldName": {text: "The field that the match goes to; without it the match is thrown away."},
	"Pattern.pattern":   {text: "A regular expression (RE2), with named patterns as {{.name}}.", needed: true},

	"Reformat.where":      where,
	"Reformat.fields":     paths,
	"Reformat.function":   {text: "There is only time.", oneOf: []any{"time"}},
	"Reformat.fromFormat": {text: "How the time is written, as a Go layout: Mon Jan 2 15:04:05 MST 2006 in that form.", needed: true},
	"Reformat.toFormat":   {text: "How it shall be written, as a Go layout.", needed: true},

	"Add.where":    where,
	"Add.function": {text: "There is only string.", oneOf: []any{"string"}},
	"Add.params":   {text: "The field and its value.", schema: addSchema},

	"Delete.where":   where,
	"Delete.fields":  paths,
	"Drop.where":     {text: "A condition in CEL: the log is discarded where it is true."},
	"Dynamic.where":  where,
	"Dynamic.plugin": {text: "The parsing plugin, by the name that its socket begins with.", needed: true},
	"Dynamic.params": {text: "Handed to the plugin as they are."},

	"Rule.id":            {text: "The number by which the rule can be disabled."},
	"Rule.name":          {text: "What its alerts are called.", needed: true},
	"Rule.description":   {text: "What it finds, for those who read the alert."},
	"Rule.category":      {text: "The kind of attack."},
	"Rule.technique":     {text: "The technique, as in MITRE ATT&CK."},
	"Rule.references":    {text: "Where more is written about it."},
	"Rule.dataTypes":     {text: "The types of the events that the rule is for.", needed: true},
	"Rule.adversary":     {text: "The side of the event that the attacker is on.", oneOf: []any{"origin", "target", ""}, otherwise: "origin"},
	"Rule.impact":        {text: "What the attack means, 0 to 3 each."},
	"Rule.where":         {text: "A condition in CEL over the event. Example: equals(\"log.action\", \"deny\")"},
	"Rule.correlation":   {text: "Searches over earlier events, all of which must hold."},
	"Rule.afterEvents":   {text: "The older name of correlation.", deprecated: true},
	"Rule.deduplicateBy": {text: "Paths in the alert: an alert with the same name and the same values is left out."},
	"Rule.groupBy":       {text: "Paths in the alert: alerts with the same values belong to one incident."},

	"Impact.confidentiality": {text: "To confidentiality.", most: 3},
	"Impact.integrity":       {text: "To integrity.", most: 3},
	"Impact.availability":    {text: "To availability.", most: 3},

	"SearchRequest.indexPattern": {text: "Which events are searched: v11-log-<dataType>-*.", needed: true},
	"SearchRequest.with":         {text: "What an event must fit, all of it."},
	"SearchRequest.or":           {text: "Searches that are tried where this one does not hold."},
	"SearchRequest.within":       {text: "How far back: a duration such as 15m, 24h or 7d.", needed: true},
	"SearchRequest.count":        {text: "How many events there must be at least."},

	"Expression.field":    {text: "The field of the event, by its dotted path.", needed: true},
	"Expression.operator": {text: "How it is compared.", oneOf: []any{"filter_term", "must_not_term", "filter_match", "must_not_match"}},
	"Expression.value":    {text: "With what. A text that is wholly {{.path}} is taken from the event that the rule looks at."},
}

// addSchema is what params of an add step must be.
func addSchema(*schemaBuilder) map[string]any {
	return map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"key", "value"},
		"properties": map[string]any{
			"key":   map[string]any{"type": "string", "minLength": 1, "description": "The field, by its dotted path."},
			"value": map[string]any{"description": "Its value; what is no text is written as its text."},
		},
	}
}

// pluginsSchema knows the stages, and of a plugin what the node reads; the rest
// is the plugin's.
func pluginsSchema(b *schemaBuilder) map[string]any {
	name := map[string]any{"type": "string", "minLength": 1, "maxLength": maxPluginName, "pattern": `^[^/\s]+$`}
	b.defs["Order"] = map[string]any{
		"type":       []any{"object", "null"},
		"properties": map[string]any{"order": map[string]any{"type": []any{"array", "null"}, "items": name, "description": "The names of the plugins that get every item of the stage."}},
	}
	properties := map[string]any{}
	for _, stage := range stages {
		properties[stage] = map[string]any{"$ref": "#/$defs/Order", "description": "The plugins of this stage."}
	}
	return map[string]any{
		"type": []any{"object", "null"}, "properties": properties,
		"additionalProperties": map[string]any{
			"properties": map[string]any{
				"bundled": map[string]any{"type": []any{"string", "null"}, "minLength": 1, "description": "The plugin that comes with epmesh and is started under this name. epmesh plugin list shows them."},
				"topics":  map[string]any{"description": "The topics of messages that a notification plugin wants."},
			},
		},
	}
}
