package connection

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dop251/goja"
)

// functions are those that a proxy script may call besides the language's own.
// They do what browsers do, which Netscape described in 1996 and nobody since
// has dared to mend.
type functions struct {
	ctx context.Context
	now func() time.Time
}

func (f functions) define(vm *goja.Runtime) error {
	for name, function := range map[string]any{
		"isPlainHostName":     isPlainHostName,
		"dnsDomainIs":         strings.HasSuffix,
		"localHostOrDomainIs": localHostOrDomainIs,
		"isResolvable":        func(host string) bool { return f.resolve(host) != "" },
		"isInNet":             f.isInNet,
		"dnsResolve":          f.dnsResolve,
		"myIpAddress":         myIPAddress,
		"dnsDomainLevels":     func(host string) int { return strings.Count(host, ".") },
		"shExpMatch":          shExpMatch,
		"weekdayRange":        f.weekdayRange,
		"dateRange":           f.dateRange,
		"timeRange":           f.timeRange,
		"alert":               func(string) {}, // browsers have it, and scripts use it
	} {
		if err := vm.Set(name, function); err != nil {
			return err
		}
	}
	return nil
}

func isPlainHostName(host string) bool { return !strings.ContainsAny(host, ".:") }

func localHostOrDomainIs(host, full string) bool {
	return host == full || strings.HasPrefix(full, host+".")
}

// resolve is the first IPv4 address of a host, "" when there is none: scripts
// know no other kind.
func (f functions) resolve(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String()
	}
	found, err := net.DefaultResolver.LookupNetIP(f.ctx, "ip4", host)
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0].Unmap().String()
}

func (f functions) dnsResolve(host string) any {
	if ip := f.resolve(host); ip != "" {
		return ip
	}
	return nil // null
}

func (f functions) isInNet(host, network, mask string) bool {
	a, errA := netip.ParseAddr(f.resolve(host))
	b, errB := netip.ParseAddr(network)
	m, errM := netip.ParseAddr(mask)
	if errA != nil || errB != nil || errM != nil || !a.Is4() || !b.Is4() || !m.Is4() {
		return false
	}
	x, y, z := a.As4(), b.As4(), m.As4()
	for i := range z {
		if x[i]&z[i] != y[i]&z[i] {
			return false
		}
	}
	return true
}

// myIPAddress is the address that this computer has on its way out. Nothing is
// sent: the address asked for is one of those for examples.
func myIPAddress() string {
	conn, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return "127.0.0.1"
	}
	defer conn.Close()
	host, _, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return "127.0.0.1"
	}
	return host
}

// shExpMatch matches all of s with a pattern in which * stands for any signs and
// ? for one. It goes back to the last star alone, so that no pattern takes long.
func shExpMatch(s, pattern string) bool {
	text, p := []rune(s), []rune(pattern)
	i, j, star, from := 0, 0, -1, 0
	for i < len(text) {
		switch {
		case j < len(p) && p[j] == '*':
			star, from = j, i
			j++
		case j < len(p) && (p[j] == '?' || p[j] == text[i]):
			i++
			j++
		case star >= 0:
			from++
			i, j = from, star+1
		default:
			return false
		}
	}
	for j < len(p) && p[j] == '*' {
		j++
	}
	return j == len(p)
}

// arguments takes a last "GMT" off the arguments of a call, and gives the time
// that they speak of.
func (f functions) arguments(args []string) ([]string, time.Time) {
	now := f.now()
	if n := len(args); n > 0 && args[n-1] == "GMT" {
		return args[:n-1], now.UTC()
	}
	return args, now.Local()
}

var weekdays = []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}

var months = []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}

// within reports whether x lies between two ends, both included. Ends the wrong
// way round mean a span over the turn of the week, day or year.
func within(x, from, to int) bool {
	if from <= to {
		return from <= x && x <= to
	}
	return x >= from || x <= to
}

func (f functions) weekdayRange(args ...string) bool {
	args, now := f.arguments(args)
	var days []int
	for _, a := range args {
		day := slices.Index(weekdays, a)
		if day < 0 {
			return false
		}
		days = append(days, day)
	}
	if len(days) == 0 || len(days) > 2 {
		return false
	}
	return within(int(now.Weekday()), days[0], days[len(days)-1])
}

// dateRange takes a day, a month, a year, or two of these, or two dates of two
// or three parts.
func (f functions) dateRange(args ...string) bool {
	args, now := f.arguments(args)
	if n := len(args); n == 0 || n > 1 && n%2 != 0 || n > 6 {
		return false
	}
	half := (len(args) + 1) / 2
	from, kind, okFrom := dateParts(args[:half])
	to, kindTo, okTo := dateParts(args[len(args)-half:])
	if !okFrom || !okTo || kind != kindTo {
		return false
	}
	today := 0
	if kind&hasYear != 0 {
		today += now.Year() * 10_000
	}
	if kind&hasMonth != 0 {
		today += int(now.Month()) * 100
	}
	if kind&hasDay != 0 {
		today += now.Day()
	}
	return within(today, from, to)
}

// Which parts a date has.
const (
	hasDay = 1 << iota
	hasMonth
	hasYear
)

// dateParts makes one number of the parts of a date, by which dates of the same
// parts can be compared.
func dateParts(args []string) (date, kind int, ok bool) {
	for _, a := range args {
		value, _ := strconv.Atoi(a)
		part := hasDay
		if month := slices.Index(months, a); month >= 0 {
			part, value = hasMonth, 100*(month+1)
		} else if value > 31 {
			part, value = hasYear, 10_000*value
		} else if value < 1 {
			return 0, 0, false
		}
		if kind&part != 0 {
			return 0, 0, false
		}
		kind |= part
		date += value
	}
	return date, kind, true
}

// timeRange takes an hour, two hours, two times of hour and minute, or two with
// seconds.
func (f functions) timeRange(args ...string) bool {
	args, now := f.arguments(args)
	n := make([]int, len(args))
	for i, a := range args {
		var err error
		if n[i], err = strconv.Atoi(a); err != nil {
			return false
		}
	}
	second := (now.Hour()*60+now.Minute())*60 + now.Second()
	switch len(n) {
	case 1:
		return now.Hour() == n[0]
	case 2:
		return within(now.Hour(), n[0], n[1])
	case 4:
		return within(second, (n[0]*60+n[1])*60, (n[2]*60+n[3])*60+59)
	case 6:
		return within(second, (n[0]*60+n[1])*60+n[2], (n[3]*60+n[4])*60+n[5])
	}
	return false
}
