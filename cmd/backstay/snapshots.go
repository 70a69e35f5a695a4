package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/agent"
	"github.com/backstay/backstay/agent/state"
	"github.com/backstay/backstay/wire"
)

func (a *app) snapshotsCommand() *cobra.Command {
	cmd := a.command("snapshots", "cli.snapshots.", func(cmd *cobra.Command, _ []string) error {
		_, _, list, err := a.snapshots(cmd)
		if err != nil {
			return err
		}
		return a.showSnapshots(list)
	})
	cmd.Args = maxArgs(0)
	return a.withJSON(cmd)
}

// connect opens the state folder and makes the device's client.
func (a *app) connect() (*state.Device, *wire.Client, error) {
	st, err := a.openState()
	if err != nil {
		return nil, nil, err
	}
	device, err := st.Device()
	if err != nil {
		return nil, nil, err
	}
	client, err := agent.Connect(st, device, nil)
	return device, client, err
}

// snapshots lists the device's snapshots, newest first.
func (a *app) snapshots(cmd *cobra.Command) (*state.Device, *wire.Client, []wire.Snapshot, error) {
	device, client, err := a.connect()
	if err != nil {
		return nil, nil, nil, err
	}
	list, err := client.Snapshots(cmd.Context())
	return device, client, list, err
}

// snapshotJSON is a snapshot in JSON output.
type snapshotJSON struct {
	Snapshot    string    `json:"snapshot"`
	Hash        string    `json:"hash"`
	Seq         uint64    `json:"seq"`
	Status      string    `json:"status"`
	StartedAt   time.Time `json:"started_at"`
	CommittedAt time.Time `json:"committed_at"`
	Entries     int64     `json:"entries"`
	Files       int64     `json:"files"`
	Bytes       int64     `json:"bytes"`
	Unreadable  int64     `json:"unreadable"`
}

func (a *app) showSnapshots(list []wire.Snapshot) error {
	if a.json {
		out := make([]snapshotJSON, 0, len(list))
		for _, s := range list {
			out = append(out, snapshotJSON{s.Snapshot, s.Hash, s.Seq, s.Status, s.StartedAt, s.CommittedAt,
				s.Entries, s.Files, s.Bytes, s.Unreadable})
		}
		return a.writeJSON(map[string]any{"snapshots": out})
	}
	if len(list) == 0 {
		fmt.Fprintln(a.out, a.say.T("cli.snapshots.none"))
		return nil
	}
	heads := []string{a.say.T("cli.column.snapshot"), a.say.T("cli.column.time"), ">" + a.say.T("cli.column.files"),
		">" + a.say.T("cli.column.size"), ">" + a.say.T("cli.column.unreadable"), a.say.T("cli.column.state")}
	var rows [][]string
	for _, s := range list {
		rows = append(rows, []string{s.Snapshot, a.time(s.CommittedAt), a.say.Number(s.Files), a.say.Bytes(s.Bytes),
			a.say.Number(s.Unreadable), a.snapshotState(s.Status)})
	}
	return a.table(heads, rows)
}

func (a *app) snapshotState(status string) string {
	switch status {
	case "complete":
		return a.say.T("cli.snapshot.complete")
	case "partial":
		return a.say.T("cli.snapshot.partial")
	case "suspicious":
		return a.say.T("cli.snapshot.suspicious")
	}
	return safe(status)
}

// time writes a time as lists show it: in this computer's zone, to the minute,
// sortable.
func (a *app) time(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
