package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/backstay/backstay/agent/schedule"
)

// files writes a tree of small files.
func files(t *testing.T, tree map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range tree {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPower(t *testing.T) {
	battery := map[string]string{"BAT0/type": "Battery", "BAT0/capacity": "29", "AC/type": "Mains", "AC/online": "0"}
	with := func(more map[string]string) map[string]string {
		all := map[string]string{}
		for _, m := range []map[string]string{battery, more} {
			for name, text := range m {
				all[name] = text
			}
		}
		return all
	}
	for name, c := range map[string]struct {
		tree map[string]string
		want schedule.Power
	}{
		"a tower":                      {nil, schedule.Power{}},
		"on battery":                   {battery, schedule.Power{Battery: true, Percent: 29}},
		"on mains":                     {with(map[string]string{"AC/online": "1"}), schedule.Power{}},
		"charged by USB":               {with(map[string]string{"usb/type": "USB", "usb/online": "1"}), schedule.Power{}},
		"charged by what nobody lists": {map[string]string{"BAT0/type": "Battery", "BAT0/capacity": "9", "BAT0/status": "Charging"}, schedule.Power{}},
		"two batteries":                {with(map[string]string{"BAT1/type": "Battery", "BAT1/capacity": "81"}), schedule.Power{Battery: true, Percent: 55}},
		"a mouse's":                    {map[string]string{"mouse/type": "Battery", "mouse/scope": "Device", "mouse/capacity": "3"}, schedule.Power{}},
		"one that says little":         {map[string]string{"BAT0/type": "Battery"}, schedule.Power{}},
	} {
		if got := power(files(t, c.tree)); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestGateways(t *testing.T) {
	dir := files(t, map[string]string{
		"route": "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
			"wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n" +
			"wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0",
		"arp": "IP address       HW type     Flags       HW address            Mask     Device\n" +
			"192.168.1.1      0x1         0x2         00:11:22:aa:bb:cc     *        wlan0\n" +
			"192.168.1.9      0x1         0x2         00:11:22:aa:bb:dd     *        wlan0",
	})
	if got := gateways(dir); !slices.Equal(got, []string{"00:11:22:aa:bb:cc"}) {
		t.Errorf("gateways = %v", got)
	}
	if got := gateways(t.TempDir()); got != nil {
		t.Errorf("without tables: %v", got)
	}
}
