package fhir

import (
	"errors"
	"fmt"
	"time"
)

// Precision is how much of a DateTime was given. Greater is finer.
type Precision uint8

// The precisions of a FHIR dateTime. A time to the minute has no place in a
// resource (R4 datatypes, dateTime: "seconds SHALL be provided"), but in the
// value of a search (R4 search, date).
const (
	PrecisionYear Precision = iota
	PrecisionMonth
	PrecisionDay
	PrecisionMinute
	PrecisionSecond
	PrecisionFraction
)

// DateTime is a FHIR date, dateTime or instant (R4 datatypes, date and time):
// a span of time whose length is given by its precision. The zero value is
// not a valid one; get it from ParseDateTime.
type DateTime struct {
	start     time.Time
	step      time.Duration
	precision Precision
}

// Precision tells how much was given.
func (d DateTime) Precision() Precision { return d.precision }

// Bounds returns the half-open interval [from, until) that the value covers,
// in UTC: a day all of its day, 10:00:00.5 a tenth of a second. A date without
// a time has no zone and is taken as one of UTC. Digits beyond the ninth of a
// fraction are not looked at.
func (d DateTime) Bounds() (from, until time.Time) {
	switch d.precision {
	case PrecisionYear:
		return d.start, d.start.AddDate(1, 0, 0)
	case PrecisionMonth:
		return d.start, d.start.AddDate(0, 1, 0)
	case PrecisionDay:
		return d.start, d.start.AddDate(0, 0, 1)
	default:
		return d.start, d.start.Add(d.step)
	}
}

// ParseInstant reads an instant by the rule of R4: a full date, a time to the
// second or finer, and a zone. The result is in UTC. Second 60 is allowed, as in
// R4, and is the first of the next minute. The error does not repeat the value,
// which may be a patient's.
func ParseInstant(s string) (time.Time, error) {
	d, err := parseDateTime(s)
	if err == nil && d.precision < PrecisionSecond {
		err = errSeconds
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("not a FHIR instant: %w", err)
	}
	return d.start, nil
}

// ParseDateTime reads a date or dateTime by the rule of R4: YYYY, YYYY-MM,
// YYYY-MM-DD, or a day with a time and a zone, where "Z", a sign, two digits, a
// colon and two digits up to 14:00 are zones. The day has to be one of the
// calendar. A time to the minute is accepted as well: a caller that reads a
// resource refuses it by its Precision. Second 60 and the error are as for
// ParseInstant.
func ParseDateTime(s string) (DateTime, error) {
	d, err := parseDateTime(s)
	if err != nil {
		return DateTime{}, fmt.Errorf("not a FHIR dateTime: %w", err)
	}
	return d, nil
}

var (
	errDigits   = errors.New("digits expected")
	errRange    = errors.New("a number is out of range")
	errCalendar = errors.New("no such day")
	errColon    = errors.New("a colon expected")
	errZone     = errors.New("a time needs a zone, Z or ±hh:mm")
	errSeconds  = errors.New("a time with seconds expected")
	errTrailing = errors.New("unexpected text at the end")
)

func parseDateTime(s string) (DateTime, error) {
	c := dateScan{rest: s}
	d := c.dateTime()
	if c.rest != "" {
		c.fail(errTrailing)
	}
	return d, c.err
}

// dateScan reads a dateTime from the left. After the first error it reads
// nothing more.
type dateScan struct {
	rest string
	err  error
}

// dateTime reads as much as there is, coarse to fine.
func (c *dateScan) dateTime() DateTime {
	year, month, day := c.number(4, 1, 9999), 1, 1
	precision := PrecisionYear
	if c.accept('-') {
		month, precision = c.number(2, 1, 12), PrecisionMonth
		if c.accept('-') {
			day, precision = c.number(2, 1, 31), PrecisionDay
		}
	}
	start := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if c.err == nil && start.Day() != day {
		c.err = errCalendar
	}
	d := DateTime{start: start, precision: precision}
	if precision == PrecisionDay && c.accept('T') {
		c.clock(&d)
	}
	return d
}

// clock reads the time of day and its zone into d.
func (c *dateScan) clock(d *DateTime) {
	hour := c.number(2, 0, 23)
	c.colon()
	sum := time.Duration(hour)*time.Hour + time.Duration(c.number(2, 0, 59))*time.Minute
	d.precision, d.step = PrecisionMinute, time.Minute
	if c.accept(':') {
		sum += time.Duration(c.number(2, 0, 60)) * time.Second
		d.precision, d.step = PrecisionSecond, time.Second
		if c.accept('.') {
			var part time.Duration
			part, d.step = c.fraction()
			sum += part
			d.precision = PrecisionFraction
		}
	}
	d.start = d.start.Add(sum - c.zone())
}

// fraction reads one digit or more and returns their value and the value of
// one in the last of them, which is a nanosecond at least.
func (c *dateScan) fraction() (part, step time.Duration) {
	step = time.Second
	n := 0
	for ; n < len(c.rest) && isDigit(c.rest[n]); n++ {
		if step > 1 {
			step /= 10
			part += time.Duration(c.rest[n]-'0') * step
		}
	}
	if n == 0 {
		c.fail(errDigits)
	}
	c.rest = c.rest[n:]
	return part, step
}

// zone reads the zone and returns its offset, east positive.
func (c *dateScan) zone() time.Duration {
	var sign time.Duration
	switch {
	case c.accept('Z'):
		return 0
	case c.accept('+'):
		sign = 1
	case c.accept('-'):
		sign = -1
	default:
		c.fail(errZone)
		return 0
	}
	hours := c.number(2, 0, 14)
	c.colon()
	minutes := c.number(2, 0, 59)
	if hours == 14 && minutes > 0 {
		c.fail(errRange)
	}
	return sign * (time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute)
}

// number reads exactly so many digits, whose value lies between low and high.
func (c *dateScan) number(digits, low, high int) int {
	if c.err != nil {
		return 0
	}
	if len(c.rest) < digits {
		c.fail(errDigits)
		return 0
	}
	n := 0
	for i := range digits {
		if !isDigit(c.rest[i]) {
			c.fail(errDigits)
			return 0
		}
		n = 10*n + int(c.rest[i]-'0')
	}
	if n < low || n > high {
		c.fail(errRange)
	}
	c.rest = c.rest[digits:]
	return n
}

func (c *dateScan) accept(b byte) bool {
	if c.err != nil || c.rest == "" || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

func (c *dateScan) colon() {
	if !c.accept(':') {
		c.fail(errColon)
	}
}

func (c *dateScan) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// FormatInstant appends an instant of UTC with three digits of fraction, such
// as 2026-11-21T11:18:00.123Z, the form in which this server shows every
// lastUpdated. Years from 0000 to 9999 can be written; others come out as
// time.Time formats them and are no FHIR instants.
func FormatInstant(dst []byte, unixMilli int64) []byte {
	t := time.UnixMilli(unixMilli).UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	hour, minute, second := t.Clock()
	milli := t.Nanosecond() / int(time.Millisecond)
	dst = appendPair(appendPair(dst, year/100), year%100)
	dst = appendPair(append(dst, '-'), int(month))
	dst = appendPair(append(dst, '-'), day)
	dst = appendPair(append(dst, 'T'), hour)
	dst = appendPair(append(dst, ':'), minute)
	dst = appendPair(append(dst, ':'), second)
	dst = append(dst, '.', byte('0'+milli/100))
	return append(appendPair(dst, milli%100), 'Z')
}

// appendPair appends a number below 100 as two digits.
func appendPair(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}
