package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backstay/backstay/server/access"
	"github.com/backstay/backstay/server/admission"
	"github.com/backstay/backstay/server/db"
	"github.com/backstay/backstay/server/devices"
	"github.com/backstay/backstay/server/mail"
	"github.com/backstay/backstay/server/vault"
)

// figures reads the server's state for the metrics, when somebody asks.
type figures struct{ server *Server }

var (
	storedBytes  = prometheus.NewDesc("backstay_stored_bytes", "Bytes of packs in the vault.", nil, nil)
	snapshots    = prometheus.NewDesc("backstay_snapshots", "Snapshots that can be restored.", nil, nil)
	devicesAll   = prometheus.NewDesc("backstay_devices", "Devices that may back up.", nil, nil)
	online       = prometheus.NewDesc("backstay_devices_online", "Devices that this server could tell something at once.", nil, nil)
	mails        = prometheus.NewDesc("backstay_mails", "Mails that wait to be sent, or could not be.", []string{"state"}, nil)
	backups      = prometheus.NewDesc("backstay_backups", "Devices that send a backup, or wait for their turn because enough others do.", []string{"state"}, nil)
	openSessions = prometheus.NewDesc("backstay_open_sessions", "Backups that have begun and not ended.", nil, nil)
)

// Describe names the figures.
func (f *figures) Describe(ch chan<- *prometheus.Desc) {
	ch <- storedBytes
	ch <- snapshots
	ch <- openSessions
	ch <- backups
	ch <- devicesAll
	ch <- online
	ch <- mails
}

// Collect reads them. What cannot be read is left out, and counted by the
// scraper as an error.
func (f *figures) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	var stats vault.Stats
	var totals devices.Totals
	var queue map[mail.State]int
	var turns map[string]int
	err := f.server.DB.Read(ctx, func(tx *db.Tx) (err error) {
		if totals, err = devices.Sum(ctx, tx, access.System("metrics"), ""); err != nil {
			return err
		}
		if queue, err = mail.Counts(ctx, tx, access.System("metrics")); err != nil {
			return err
		}
		if turns, err = admission.Counts(ctx, tx); err != nil {
			return err
		}
		stats, err = f.server.Vault.Stats(ctx, tx)
		return err
	})
	if err != nil {
		f.server.cfg.Log.Error("reading figures", "error", err)
		ch <- prometheus.NewInvalidMetric(storedBytes, err)
		return
	}
	gauge := func(desc *prometheus.Desc, value int64) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value))
	}
	gauge(storedBytes, stats.StoredBytes)
	gauge(snapshots, stats.Snapshots)
	gauge(openSessions, stats.OpenSessions)
	gauge(devicesAll, int64(totals.Devices))
	gauge(online, int64(f.server.api.Waiting()))
	for _, state := range []string{admission.Sending, admission.Waiting} {
		ch <- prometheus.MustNewConstMetric(backups, prometheus.GaugeValue, float64(turns[state]), state)
	}
	for _, state := range []mail.State{mail.Waiting, mail.Failed} {
		ch <- prometheus.MustNewConstMetric(mails, prometheus.GaugeValue, float64(queue[state]), string(state))
	}
}
