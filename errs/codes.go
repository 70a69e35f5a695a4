package errs

// Code is a stable error code of the product's table, shared by the API, the
// client and the pages. A code never changes its meaning.
type Code string

// The product's table.
const (
	CannotConnect       Code = "E1001"
	UntrustedCert       Code = "E1002"
	ProxyAuth           Code = "E1003"
	ClockSkew           Code = "E1004" // n: minutes
	ClientTooOld        Code = "E1005" // v: lowest version
	AuthFailed          Code = "E1101"
	AccountDisabled     Code = "E1102"
	AccountPreserved    Code = "E1103"
	TooManyAttempts     Code = "E1104" // n: seconds
	PasswordChange      Code = "E1105"
	WebAccessOff        Code = "E1106"
	LinkExpired         Code = "E1107"
	WrongConfirmation   Code = "E1108" // n: tries left
	SameDeviceName      Code = "E1201" // data: device
	AddDeviceNotAllowed Code = "E1202"
	TooManyDevices      Code = "E1203" // n: limit
	BadDeployToken      Code = "E1204"
	FirstDeviceOnly     Code = "E1205"
	NoDeviceMapping     Code = "E1206"
	AmbiguousAccount    Code = "E1207"
	DeviceDeactivated   Code = "E1208"
	NoFreeSeat          Code = "E1301" // reason, when it is another than that all are taken
	BadSerial           Code = "E1302" // group: the wrong one, or n: characters it has
	QuotaUsedUp         Code = "E1401" // q: the quota in bytes; of: user or org; room: bytes the snapshot may have
	ServerBusy          Code = "E1402" // n: minutes; seconds: the same more exactly, when it is known
	Quarantined         Code = "E1403"
	LegalHold           Code = "E1404"
	NotActivated        Code = "E1501"
	AlreadyRunning      Code = "E1502"
	ForeignState        Code = "E1503"
	NoSuchSnapshot      Code = "E1504" // what: snapshot or path
	LocalDiskFull       Code = "E1505"
	Mismatch            Code = "E1506"
	MissingObjects      Code = "E1507" // n: objects
	OlderHistory        Code = "E1508"
	StorageFull         Code = "E1601"
	SchemaVersion       Code = "E1602" // a: the database's, b: this program's
)

var kinds = map[Code]Kind{
	CannotConnect: Local, UntrustedCert: Local, ProxyAuth: Local, ClockSkew: Local,
	ClientTooOld: UpgradeRequired,
	AuthFailed:   Unauthenticated, AccountDisabled: Forbidden, AccountPreserved: Forbidden,
	TooManyAttempts: TooMany, PasswordChange: Forbidden, WebAccessOff: Forbidden,
	LinkExpired: Gone, WrongConfirmation: Invalid,
	SameDeviceName: Conflict, AddDeviceNotAllowed: Forbidden, TooManyDevices: Forbidden,
	BadDeployToken: Forbidden, FirstDeviceOnly: Forbidden, NoDeviceMapping: NotFound,
	AmbiguousAccount: Conflict, DeviceDeactivated: Forbidden,
	NoFreeSeat: NoSeat, BadSerial: Invalid,
	QuotaUsedUp: NoSpace, ServerBusy: Unavailable, Quarantined: Locked, LegalHold: Locked,
	NotActivated: Conflict, AlreadyRunning: Conflict, ForeignState: Local,
	NoSuchSnapshot: NotFound, LocalDiskFull: Local, Mismatch: Local,
	MissingObjects: Conflict, OlderHistory: Conflict,
	StorageFull: NoSpace, SchemaVersion: Local,
}

// Codes lists every code, in the table's order of numbers. The locale test
// uses it to see that each has its text.
func Codes() []Code {
	return []Code{
		CannotConnect, UntrustedCert, ProxyAuth, ClockSkew, ClientTooOld,
		AuthFailed, AccountDisabled, AccountPreserved, TooManyAttempts, PasswordChange,
		WebAccessOff, LinkExpired, WrongConfirmation,
		SameDeviceName, AddDeviceNotAllowed, TooManyDevices, BadDeployToken,
		FirstDeviceOnly, NoDeviceMapping, AmbiguousAccount, DeviceDeactivated,
		NoFreeSeat, BadSerial, QuotaUsedUp, ServerBusy, Quarantined, LegalHold,
		NotActivated, AlreadyRunning, ForeignState, NoSuchSnapshot, LocalDiskFull,
		Mismatch, MissingObjects, OlderHistory, StorageFull, SchemaVersion,
	}
}

// ByCode makes the failure a server reported by its code; ok is false for a
// code this build does not know.
func ByCode(code string, args map[string]any) (e *Error, ok bool) {
	kind, ok := kinds[Code(code)]
	if !ok {
		return nil, false
	}
	e = &Error{Kind: kind, Code: Code(code), Args: args}
	e.Key = text(e)
	return e, true
}

// text is the key of the message that says e: more than the code's own sentence
// where the arguments tell more.
func text(e *Error) string {
	switch {
	case e.Code == BadSerial && e.Args["group"] != nil:
		return "error.E1302.group"
	case e.Code == BadSerial && e.Args["n"] != nil:
		return "error.E1302.length"
	case e.Code == NoFreeSeat && e.Args["reason"] == "expired":
		return "error.E1301.expired"
	case e.Code == NoFreeSeat && e.Args["reason"] == "preserved":
		return "error.E1301.preserved"
	case e.Code == NoFreeSeat && (e.Args["reason"] == "revoked" || e.Args["reason"] == "invalid"):
		return "error.E1301.void"
	case e.Code == AddDeviceNotAllowed && e.Args["reason"] == "retired":
		return "error.E1202.retired"
	case e.Code == QuotaUsedUp && e.Args["of"] == "org":
		return "error.E1401.org"
	case e.Code == DeviceDeactivated && (e.Args["state"] == "deleted" || e.Args["state"] == "purged"):
		return "error.E1208.deleted"
	case e.Code == DeviceDeactivated && e.Args["replaced_at"] != nil:
		return "error.E1208.replaced"
	case e.Code == DeviceDeactivated && e.Args["reset_at"] != nil:
		return "error.E1208.reset"
	}
	return "error." + string(e.Code)
}
