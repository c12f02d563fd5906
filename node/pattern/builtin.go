package pattern

// builtin is written for this project; a configuration overrides any of it.
// Each stands in its own group, so that it can be repeated or be one of
// several alternatives.
var builtin = map[string]string{
	"integer":  `(?:[+-]?[0-9]+)`,
	"word":     `(?:\b\w+\b)`,
	"notSpace": `(?:\S+)`,
	"space":    `(?:\s+)`,
	"data":     `(?:.*?)`,
	"greedy":   `(?:.*)`,

	"ipv4": `(?:(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9]))`,
	// The forms of RFC 4291, the longer before the shorter, since the first
	// alternative that fits is taken.
	"ipv6": `(?:(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}` +
		`|(?:[0-9A-Fa-f]{1,4}:){6}{{.ipv4}}` +
		`|(?:[0-9A-Fa-f]{1,4}:){1,6}:{{.ipv4}}` +
		`|::(?:[Ff]{4}:)?{{.ipv4}}` +
		`|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}` +
		`|(?:[0-9A-Fa-f]{1,4}:){1,7}:` +
		`|:(?::[0-9A-Fa-f]{1,4}){1,7}` +
		`|::)(?:%[0-9A-Za-z._-]+)?)`,
	"hostname": `(?:\b[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,62})(?:\.[0-9A-Za-z_][0-9A-Za-z_-]{0,62})*\.?)`,
	"domain":   `(?:\b(?:[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?\.)+[A-Za-z]{2,63}\b)`,
	"email":    "(?:[0-9A-Za-z.!#$%&'*+/=?^_`{|}~-]+@[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?(?:\\.[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?)*)",
	"uuid":     `(?:[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12})`,

	"commonMacAddr": `(?:(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})`,
	"winMacAddr":    `(?:(?:[0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2})`,
	"ciscoMacAddr":  `(?:(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4})`,

	"hour":    `(?:2[0-3]|[01]?[0-9])`,
	"minute":  `(?:[0-5][0-9])`,
	"seconds": `(?:(?:60|[0-5]?[0-9])(?:[:.,][0-9]+)?)`,
	"time":    `(?:{{.hour}}:{{.minute}}(?::{{.seconds}})?)`,

	"day":             `(?:\b(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)\b)`,
	"monthName":       `(?:\b(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]une?|[Jj]uly?|[Aa]ug(?:ust)?|[Ss]ep(?:t(?:ember)?)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)\b)`,
	"monthNumber":     `(?:1[0-2]|0?[1-9])`,
	"monthDay":        `(?:3[01]|[12][0-9]|0?[1-9])`,
	"year":            `(?:[1-9][0-9]{3}|[0-9]{2})`,
	"syslogDate":      `(?:{{.monthName}}\s+{{.monthDay}}\s+{{.time}})`,
	"iso8601Timezone": `(?:Z|[+-]{{.hour}}(?::?{{.minute}})?)`,
}
