package search_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rewrite writes JSON with every character of every string escaped and with
// members sorted up or down.
func rewrite(to []byte, value any, order int) []byte {
	switch v := value.(type) {
	case string:
		to = append(to, '"')
		for _, c := range v {
			if c < 0x10000 {
				to = fmt.Appendf(to, `\u%04x`, c)
			} else {
				to = append(to, string(c)...)
			}
		}
		return append(to, '"')
	case []any:
		to = append(to, '[')
		for i, one := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = rewrite(to, one, order)
		}
		return append(to, ']')
	case map[string]any:
		names := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return order * strings.Compare(a, b) })
		to = append(to, '{')
		for i, name := range names {
			if i > 0 {
				to = append(to, ',')
			}
			to = append(rewrite(to, name, order), ':')
			to = rewrite(to, v[name], order)
		}
		return append(to, '}')
	}
	text, _ := json.Marshal(value)
	return append(to, text...)
}
