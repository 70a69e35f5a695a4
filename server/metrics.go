package server

import (
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/backstay/backstay/version"
)

// metrics are the server's figures for Prometheus. They name no user, device
// or organisation.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	received prometheus.Counter
}

func newMetrics(state prometheus.Collector) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backstay_requests_total", Help: "Requests answered, by kind of route and status.",
		}, []string{"class", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "backstay_request_seconds", Help: "Time to answer a request, by kind of route; agent_next waits on purpose.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10, 30, 100, 300},
		}, []string{"class"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "backstay_received_bytes_total", Help: "Bytes of uploads that devices sent, finished or not.",
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "backstay_build_info", Help: "1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version.Number(), "build": version.Build},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.seconds, m.received, build, state,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler shows the figures to whoever asks from an allowed network.
func (m *metrics) handler(allowed, proxies []netip.Prefix) http.Handler {
	show := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !within(clientIP(r, proxies), allowed) {
			refuse(w, r, http.StatusForbidden, "request.metrics")
			return
		}
		show.ServeHTTP(w, r)
	})
}
