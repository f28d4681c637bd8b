package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// operated is where a server says in its log that the operator is served.
var operated = regexp.MustCompile(`msg="the operator is served" at=(http://\S+)`)

// unitsEnded is how many units the server has brought to their end, by what it
// tells the operator.
func (s *server) unitsEnded(ctx context.Context) (int, error) {
	log, err := os.ReadFile(s.log.Name())
	if err != nil {
		return 0, err
	}
	found := operated.FindSubmatch(log)
	if found == nil {
		return 0, errors.New("firebreak serve did not log where it serves the operator")
	}
	metrics, err := get(ctx, string(found[1])+"/metrics")
	if err != nil {
		return 0, err
	}
	return sumOfUnits(metrics)
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := newHTTPClient(1).Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	err = errors.Join(err, res.Body.Close())
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET /metrics: the server answers %s", res.Status)
	}
	return body, err
}

// sumOfUnits adds up the units, of any kind, that succeeded.
func sumOfUnits(metrics []byte) (int, error) {
	sum := 0
	for lines := bufio.NewScanner(bytes.NewReader(metrics)); lines.Scan(); {
		labels, ok := strings.CutPrefix(lines.Text(), "firebreak_units_ended_total{")
		if !ok || !strings.Contains(labels, `outcome="succeeded"`) {
			continue
		}
		n, err := strconv.ParseFloat(labels[strings.LastIndexByte(labels, ' ')+1:], 64)
		if err != nil {
			return 0, fmt.Errorf("the metrics of units are no numbers: %w", err)
		}
		sum += int(n)
	}
	return sum, nil
}
