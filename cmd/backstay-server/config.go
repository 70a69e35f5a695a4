package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"

	"github.com/backstay/backstay/errs"
	"github.com/backstay/backstay/server"
	"github.com/backstay/backstay/wire"
)

// defaultConfig is read when no other file is named and it is there, so that
// commands see what the running service sees.
const defaultConfig = "/etc/backstay/server.yaml"

// configuration is the effective value of every key and where it came from.
type configuration struct {
	settings effective
	values   map[string]string
	sources  map[string]string
	warnings []string
}

// addConfigFlags gives cmd --config and a flag for each key named; for all keys
// when none is.
func (p *program) addConfigFlags(cmd *cobra.Command, names ...string) {
	flags := cmd.Flags()
	p.textFlag(cmd, new(string), "config", "FILE", "server.flag.config", "file", defaultConfig)
	for _, k := range configKeys() {
		if len(names) > 0 && !slices.Contains(names, k.name) {
			continue
		}
		text, _, _ := strings.Cut(p.say.T(k.text()), ". ")
		first, size := utf8.DecodeRuneInString(text)
		text = string(unicode.ToLower(first)) + strings.TrimSuffix(text[size:], ".")
		if d := k.shownDefault(p.say); d != "" && d != "false" {
			text += " (" + p.say.T("server.flag.default", "value", d) + ")"
		}
		f := flags.VarPF(&flagValue{text: new(string), kind: k.value}, k.flag(), "", text)
		if k.value == "BOOL" {
			f.NoOptDefVal = "true"
		}
	}
}

// textFlag gives cmd a flag whose value help calls kind. What the value is when
// the flag is absent, the message says itself.
func (p *program) textFlag(cmd *cobra.Command, to *string, name, kind, key string, args ...any) {
	cmd.Flags().VarPF(&flagValue{to, kind}, name, "", p.say.T(key, args...)).DefValue = ""
}

// flagValue is the text of a flag. What it may be is asked later, by the rules
// that hold for the file and the environment too.
type flagValue struct {
	text *string
	kind string
}

func (f *flagValue) String() string     { return *f.text }
func (f *flagValue) Set(v string) error { *f.text = v; return nil }

// Type is what help calls the value; pflag shows none for "bool".
func (f *flagValue) Type() string {
	if f.kind == "BOOL" {
		return "bool"
	}
	return f.kind
}

// configure works out the configuration: the default, then the file, then the
// environment, then the flags, each over the one before.
func (p *program) configure(cmd *cobra.Command) (*configuration, error) {
	c := &configuration{values: map[string]string{}, sources: map[string]string{}}
	keys := configKeys()
	defaults := map[string]any{}
	for _, k := range keys {
		defaults[k.name] = k.def
	}
	if err := c.layer(confmap.Provider(defaults, ""), nil, func(string) string { return "default" }); err != nil {
		return nil, err
	}

	path, err := p.configFile(cmd)
	if err != nil {
		return nil, err
	}
	if path != "" {
		if err := c.layer(file.Provider(path), yaml.Parser(), func(string) string { return path }); err != nil {
			return nil, errs.New(errs.Invalid, "config.file.unreadable", "file", path).Because(err)
		}
	}

	environment := env.Provider("", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return p.environ },
		TransformFunc: func(name, value string) (string, any) {
			name = strings.ToLower(strings.TrimPrefix(name, envPrefix))
			if slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) {
				return name, value
			}
			if name != "config" {
				c.warnings = append(c.warnings, p.say.T("config.env.unknown", "name", envPrefix+strings.ToUpper(name)))
			}
			return "", nil
		},
	})
	if err := c.layer(environment, nil, func(name string) string { return envPrefix + strings.ToUpper(name) }); err != nil {
		return nil, err
	}

	flags := map[string]any{}
	for _, k := range keys {
		if f := cmd.Flags().Lookup(k.flag()); f != nil && f.Changed {
			flags[k.name] = f.Value.String()
		}
	}
	err = c.layer(confmap.Provider(flags, ""), nil, func(name string) string { return "--" + strings.ReplaceAll(name, "_", "-") })
	if err != nil {
		return nil, err
	}
	return c, c.apply(keys)
}

// configFile is the file to read, "" for none. One that was named must be
// there; the usual one need not.
func (p *program) configFile(cmd *cobra.Command) (string, error) {
	path := p.getenv(envPrefix + "CONFIG")
	if f := cmd.Flags().Lookup("config"); f != nil && f.Changed {
		path = f.Value.String()
	}
	if path == "" {
		if _, err := os.Stat(defaultConfig); err != nil {
			return "", nil
		}
		path = defaultConfig
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", errs.New(errs.Invalid, "config.file.missing", "file", path)
	}
	return path, nil
}

// layer lays the keys of one source over those of the sources before.
func (c *configuration) layer(from koanf.Provider, parser koanf.Parser, source func(name string) string) error {
	k := koanf.New("\x00") // keys are flat: nothing splits them
	if err := k.Load(from, parser); err != nil {
		return err
	}
	for name, value := range k.All() {
		text, err := scalar(value)
		if err != nil {
			return invalidValue(name, source(name), err)
		}
		c.values[name], c.sources[name] = text, source(name)
	}
	return nil
}

// scalar is a value of the file as the environment would hold it.
func scalar(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return strings.TrimSpace(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			text, err := scalar(element)
			if err != nil {
				return "", err
			}
			parts[i] = text
		}
		return strings.Join(parts, ", "), nil
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), nil
	}
	return "", errs.New(errs.Invalid, "config.value.nested")
}

// badValue is a value that a key cannot have, with the reason in cause.
type badValue struct {
	name, source string
	cause        error
}

func (b *badValue) Error() string { return b.name + " (" + b.source + "): " + b.cause.Error() }
func (b *badValue) Unwrap() error { return b.cause }

func invalidValue(name, source string, cause error) error { return &badValue{name, source, cause} }

func (c *configuration) apply(keys []key) error {
	for name := range c.values {
		if !slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) {
			return errs.New(errs.Invalid, "config.key.unknown", "name", name, "source", c.sources[name])
		}
	}
	for _, k := range keys {
		if err := k.set(&c.settings, c.values[k.name]); err != nil {
			return invalidValue(k.name, c.sources[k.name], err)
		}
	}
	return c.settings.server.Check()
}

func (s *effective) logger(p *program) *slog.Logger {
	options := &slog.HandlerOptions{Level: s.logLevel}
	if s.logJSON {
		return slog.New(slog.NewJSONHandler(p.err, options))
	}
	return slog.New(slog.NewTextHandler(p.err, options))
}

func (p *program) configCommand() *cobra.Command {
	cmd := p.command("config", "server.cli.config.", `backstay-server config
backstay-server config --config /etc/backstay/server.yaml --listen :443`, func(cmd *cobra.Command, _ []string) error {
		c, err := p.configure(cmd)
		if err != nil {
			return err
		}
		return p.printConfig(c)
	})
	p.addConfigFlags(cmd)
	return cmd
}

func (p *program) printConfig(c *configuration) error {
	table := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	effective := c.settings.server.WithDefaults()
	for _, k := range configKeys() {
		value := c.values[k.name]
		if value == "" {
			value = derived(k.name, effective)
		}
		if k.secret != nil {
			value = k.secret(value)
		}
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(table, "%s:\t%s\t# %s\n", k.name, value, c.sources[k.name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, warning := range c.warnings {
		fmt.Fprintln(p.err, warning)
	}
	return p.printChain(c.settings.server)
}

// derived is the value of a key whose default depends on others.
func derived(name string, effective server.Config) string {
	switch name {
	case "db":
		return effective.DB
	case "vault":
		return effective.Vault
	case "name":
		return effective.Name
	case "tls_certificate":
		if !effective.PlainHTTP {
			return filepath.Join(effective.Data, "tls", "server.crt")
		}
	}
	return ""
}

// printChain shows what a device may be told to trust.
func (p *program) printChain(cfg server.Config) error {
	if cfg.PlainHTTP {
		return nil
	}
	chain, err := server.Chain(cfg)
	if errors.Is(err, fs.ErrNotExist) && cfg.TLSCertificate == "" {
		fmt.Fprintln(p.out, p.say.T("config.certificate.later"))
		return nil
	}
	if err != nil {
		return err
	}
	for _, cert := range chain {
		fmt.Fprintln(p.out, p.say.T("config.certificate", "fingerprint", wire.Fingerprint(cert),
			"subject", cert.Subject.String(), "until", p.say.Date(cert.NotAfter)))
	}
	return nil
}
