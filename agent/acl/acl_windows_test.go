package acl

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/windows"

	"github.com/backstay/backstay/errs"
)

func listed(t *testing.T, sddl string) *windows.ACL {
	t.Helper()
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		t.Fatal(err)
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		t.Fatal(err)
	}
	return dacl
}

// Who gets in is read as it was written, and what a folder is made with lets
// nobody else in.
func TestGrants(t *testing.T) {
	t.Parallel()
	const ann = "S-1-5-21-1-2-3-1001"
	for sddl, want := range map[string][]string{
		closed(Administrators):                nil,
		closed(ann):                           nil,
		closed(ann) + "(A;OICI;GR;;;WD)":      {everybody},
		closed(ann) + "(A;OICIIO;GA;;;CO)":    nil,
		closed(ann) + "(A;ID;0x1200a9;;;BU)":  {"S-1-5-32-545"},
		"D:(D;;GA;;;WD)(A;;FA;;;" + ann + ")": nil,
	} {
		grants, err := grantsOf(listed(t, sddl))
		if err != nil {
			t.Fatal(err)
		}
		if got := Strangers(ann, grants); !slices.Equal(got, want) {
			t.Errorf("%s lets in %q, want %q", sddl, got, want)
		}
		if !slices.Contains(grants, Grant{System, 0x1f01ff}) && want != nil {
			t.Errorf("%s does not let the system in: %+v", sddl, grants)
		}
	}
}

func TestRefusesFolders(t *testing.T) {
	t.Parallel()
	temp, err := os.MkdirTemp("", "acl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temp)
	dir := filepath.Join(temp, "folder")
	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	const change = windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, change, nil, nil, listed(t, "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;WD)"), nil); err != nil {
		t.Fatal(err)
	}
	if err := Check(dir); !errs.Is(err, errs.ForeignState) {
		t.Errorf("Check of a folder that everybody gets into = %v", err)
	}
	if err := Make(dir); err != nil {
		t.Errorf("Make of a folder that is ours = %v", err)
	}
	if err := Make(filepath.Join(dir, "missing", "below")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Make below what is missing = %v", err)
	}
}
