package acl

import (
	"slices"
	"testing"
)

func TestStrangers(t *testing.T) {
	t.Parallel()
	const (
		ann, bob  = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
		everybody = "S-1-1-0"
		users     = "S-1-5-32-545"
		full      = 0x1f01ff
		read      = 0x1200a9
	)
	for name, c := range map[string]struct {
		grants []Grant
		want   []string
	}{
		"nobody":                 {nil, nil},
		"as it is made":          {[]Grant{{System, full}, {Administrators, full}, {ann, full}}, nil},
		"whoever owns it":        {[]Grant{{"S-1-3-0", full}, {"S-1-3-4", read}}, nil},
		"as ProgramData has it":  {[]Grant{{System, full}, {Administrators, full}, {users, read}, {users, 0x116}}, []string{users}},
		"everybody may read":     {[]Grant{{ann, full}, {everybody, read}}, []string{everybody}},
		"another user":           {[]Grant{{ann, full}, {bob, 1}}, []string{bob}},
		"an entry for no rights": {[]Grant{{ann, full}, {bob, 0}}, nil},
	} {
		if got := Strangers(ann, c.grants); !slices.Equal(got, c.want) {
			t.Errorf("%s: Strangers = %q, want %q", name, got, c.want)
		}
	}
}
