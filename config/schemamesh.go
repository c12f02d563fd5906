package config

// meshSchema is what the mesh section of a pipeline file may say.
func meshSchema() map[string]any {
	plugin := func(about string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "maxLength": maxPluginName, "pattern": `^[^/\s]+$`, "description": about}
	}
	text := func(about string) map[string]any {
		return map[string]any{"type": "string", "minLength": 1, "description": about}
	}
	var stages []any
	for _, s := range MeshStages {
		stages = append(stages, s)
	}
	stage := text("The stage; parsing plugins belong to parse.")
	stage["enum"] = stages
	rule := map[string]any{
		"type": "object", "additionalProperties": false, "required": []any{"groups"}, "minProperties": 2,
		"properties": map[string]any{
			"stage":    stage,
			"plugin":   plugin("The plugin that the work is for."),
			"dataType": text("The data type of the items."),
			"tenant":   text("The id of the tenant whose items they are."),
			"groups": map[string]any{
				"type": "array", "minItems": 1, "items": map[string]any{"type": "string", "minLength": 1, "maxLength": maxGroup, "pattern": `^[^,\s]([^,]*[^,\s])?$`},
				"description": "Only nodes with one of these in NODE_GROUPS take the work.",
			},
		},
	}
	key := text("The dotted path of a field, or an expression in CEL. Items with one key go to one instance of the plugin, in order.")
	return map[string]any{
		"type": []any{"object", "null"}, "additionalProperties": false,
		"description": "How nodes share the work. It is epmesh's own; plugins that read the file pass over it.",
		"properties": map[string]any{
			"place": map[string]any{
				"type": []any{"array", "null"}, "items": rule,
				"description": "Which nodes take which work. All rules that match some work hold for it together.",
			},
			"affinity": map[string]any{
				"type": []any{"object", "null"}, "propertyNames": plugin("The plugin."),
				"description": "By the plugin's name: which of its items have to meet at one instance.",
				"additionalProperties": map[string]any{"anyOf": []any{
					key,
					map[string]any{
						"type": "object", "additionalProperties": false, "required": []any{"key"},
						"properties": map[string]any{
							"key":        key,
							"partitions": map[string]any{"type": "integer", "minimum": 1, "maximum": maxPartitions, "description": "How many parts the keys are divided into; at most so many instances share the work."},
						},
					},
				}},
			},
			"singletons": map[string]any{
				"type": []any{"array", "null"}, "items": plugin("The plugin."),
				"description": "Plugins that run on one node of the mesh at a time, such as the poller of a cloud.",
			},
		},
	}
}
