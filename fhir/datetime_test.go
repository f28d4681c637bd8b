package fhir_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"firebreak/fhir"
)

// The expressions of R4 (datatypes, "Primitive Types"), word for word.
var (
	r4Instant = regexp.MustCompile(`^([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)-(0[1-9]|1[0-2])-` +
		`(0[1-9]|[1-2][0-9]|3[0-1])T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?` +
		`(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00))$`)
	r4DateTime = regexp.MustCompile(`^([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)(-(0[1-9]|1[0-2])` +
		`(-(0[1-9]|[1-2][0-9]|3[0-1])(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?` +
		`(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?$`)
	toTheMinute = regexp.MustCompile(`^(.{10}T[0-9]{2}:[0-9]{2})(Z|[+-][0-9]{2}:[0-9]{2})$`)
)

// rfc is a time.Time written down so that a table can be read.
func rfc(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestADateTimeCoversWhatItsPrecisionSays(t *testing.T) {
	tests := []struct {
		in          string
		precision   fhir.Precision
		from, until string
	}{
		{"2024", fhir.PrecisionYear, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"},
		{"2024-02", fhir.PrecisionMonth, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"2024-12", fhir.PrecisionMonth, "2024-12-01T00:00:00Z", "2025-01-01T00:00:00Z"},
		{"2024-02-29", fhir.PrecisionDay, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"},
		{"2000-02-29", fhir.PrecisionDay, "2000-02-29T00:00:00Z", "2000-03-01T00:00:00Z"},
		{"2024-05-06T07:08Z", fhir.PrecisionMinute, "2024-05-06T07:08:00Z", "2024-05-06T07:09:00Z"},
		{"2024-05-06T07:08:09+02:00", fhir.PrecisionSecond, "2024-05-06T05:08:09Z", "2024-05-06T05:08:10Z"},
		{"2024-05-06T07:08:09-14:00", fhir.PrecisionSecond, "2024-05-06T21:08:09Z", "2024-05-06T21:08:10Z"},
		{"2024-05-06T07:08:09.5Z", fhir.PrecisionFraction, "2024-05-06T07:08:09.5Z", "2024-05-06T07:08:09.6Z"},
		{"2024-05-06T07:08:09.123456789Z", fhir.PrecisionFraction, "2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.12345679Z"},
		{"2024-05-06T07:08:09.12345678999Z", fhir.PrecisionFraction, "2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.12345679Z"},
		{"2016-12-31T23:59:60Z", fhir.PrecisionSecond, "2017-01-01T00:00:00Z", "2017-01-01T00:00:01Z"},
		{"0001-01-01", fhir.PrecisionDay, "0001-01-01T00:00:00Z", "0001-01-02T00:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			d, err := fhir.ParseDateTime(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			from, until := d.Bounds()
			if !from.Equal(rfc(t, tt.from)) || !until.Equal(rfc(t, tt.until)) {
				t.Errorf("covers [%v, %v), want [%s, %s)", from, until, tt.from, tt.until)
			}
			if d.Precision() != tt.precision {
				t.Errorf("precision is %d, want %d", d.Precision(), tt.precision)
			}
		})
	}
}

func TestWhatIsNoDateTimeIsRefused(t *testing.T) {
	for _, s := range []string{
		"", "24", "0000", "20240", "2024-", "2024-00", "2024-13", "2024-1", "2024-01-00", "2024-01-32",
		"2023-02-29", "1900-02-29", "2024-04-31", "2024-01-01T", "2024-01-01T10", "2024-01-01T10Z",
		"2024-01-01T10:00", "2024-01-01T10:00:00", "2024-01-01T10:00:00z", "2024-01-01t10:00:00Z",
		"2024-01-01T24:00:00Z", "2024-01-01T10:60:00Z", "2024-01-01T10:00:61Z", "2024-01-01T10:00:00.Z",
		"2024-01-01T10:00:00,5Z", "2024-01-01T10:00:00+14:01", "2024-01-01T10:00:00+15:00",
		"2024-01-01T10:00:00+1:00", "2024-01-01T10:00:00+0100", "2024-01-01T10:00:00ZZ", " 2024", "2024 ",
		"2024-01T10:00:00Z", "2024T10:00:00Z", "-2024-01-01", "+024", "２０２４",
	} {
		if d, err := fhir.ParseDateTime(s); err == nil {
			t.Errorf("%q is accepted as %v", s, d)
		}
	}
}

func TestAnInstantNeedsSecondsAndAZone(t *testing.T) {
	got, err := fhir.ParseInstant("2024-05-06T07:08:09.5+02:00")
	if want := rfc(t, "2024-05-06T05:08:09.5Z"); err != nil || !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("instant is %v, %v; want %v", got, err, want)
	}
	for _, s := range []string{"2024", "2024-05", "2024-05-06", "2024-05-06T07:08Z", "2024-05-06T07:08:09", "x"} {
		if got, err := fhir.ParseInstant(s); err == nil {
			t.Errorf("%q is accepted as %v", s, got)
		}
	}
}

func TestADateErrorDoesNotRepeatTheValue(t *testing.T) {
	_, one := fhir.ParseDateTime("1950-07-32")
	_, two := fhir.ParseInstant("1950-07-31")
	for _, err := range []error{one, two} {
		if err == nil || strings.Contains(err.Error(), "1950") {
			t.Errorf("error is %v", err)
		}
	}
}

func FuzzDateTimesAgreeWithTheExpressionOfR4(f *testing.F) {
	for _, s := range []string{
		"2024", "2024-02-30", "2024-05-06T07:08:09.5+02:00", "2024-05-06T07:08Z", "2016-12-31T23:59:60Z", "0001-01-01T00:00:00+14:00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, err := fhir.ParseDateTime(s)
		full := toTheMinute.ReplaceAllString(s, "$1:00$2")
		if want := r4DateTime.MatchString(full) && realDay(full); want != (err == nil) {
			t.Errorf("%q: error is %v, R4 says %v", s, err, want)
		}
		at, err := fhir.ParseInstant(s)
		if want := r4Instant.MatchString(s) && realDay(s); want != (err == nil) {
			t.Errorf("instant %q: error is %v, R4 says %v", s, err, want)
		}
		checkAgainstTime(t, s, at)
	})
}

// checkAgainstTime compares an instant with the standard library's reading,
// where that one has any.
func checkAgainstTime(t *testing.T, s string, at time.Time) {
	t.Helper()
	if want, err := time.Parse(time.RFC3339Nano, s); err == nil && !at.IsZero() && !at.Equal(want) {
		t.Errorf("%q is %v, want %v", s, at, want)
	}
}

// realDay tells whether the date at the start of s, if it is a full one, is in
// the calendar.
func realDay(s string) bool {
	if len(s) < len(time.DateOnly) {
		return true
	}
	_, err := time.Parse(time.DateOnly, s[:len(time.DateOnly)])
	return err == nil
}

func TestAnInstantIsWrittenAsTimeWritesIt(t *testing.T) {
	const layout = "2006-01-02T15:04:05.000Z"
	check := func(milli int64) {
		t.Helper()
		want := time.UnixMilli(milli).UTC().Format(layout)
		if got := string(fhir.FormatInstant(nil, milli)); got != want {
			t.Fatalf("%d is written %s, want %s", milli, got, want)
		}
	}
	last := time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC).UnixMilli()
	for milli := int64(0); milli <= last; milli += 86_400_000*3 + 7_654_321 {
		check(milli)
	}
	for _, milli := range []int64{0, 1, 999, 1000, -1, last, last + 1, -62_200_000_000_000} {
		check(milli)
	}
}

func TestAnInstantIsAppended(t *testing.T) {
	at := rfc(t, "2026-11-21T11:18:00.123Z").UnixMilli()
	if got, want := string(fhir.FormatInstant([]byte("at "), at)), "at 2026-11-21T11:18:00.123Z"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkFormatInstant(b *testing.B) {
	buf := make([]byte, 0, 32)
	b.ReportAllocs()
	for i := range b.N {
		buf = fhir.FormatInstant(buf[:0], 1_795_000_000_000+int64(i))
	}
}

func BenchmarkTimeAppendFormat(b *testing.B) {
	buf := make([]byte, 0, 32)
	b.ReportAllocs()
	for i := range b.N {
		buf = time.UnixMilli(1_795_000_000_000+int64(i)).UTC().AppendFormat(buf[:0], "2006-01-02T15:04:05.000Z")
	}
}

func BenchmarkParseDateTime(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		if _, err := fhir.ParseDateTime("2024-05-06T07:08:09.123+02:00"); err != nil {
			b.Fatal(err)
		}
	}
}
