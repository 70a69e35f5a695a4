package acl

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/backstay/backstay/errs"
)

// everybody is whom a folder without an access list is open to.
const everybody = "S-1-1-0"

// Make makes a folder that is closed to others, or closes one that is there. One
// that belongs to somebody else is E1503: where everybody may make folders, its
// owner tells who came first.
func Make(dir string) error {
	owner, err := self()
	if err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(closed(owner))
	if err != nil {
		return fmt.Errorf("describing who gets into %s: %w", dir, err)
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return err
	}
	err = windows.CreateDirectory(name, &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd})
	if err != nil && !errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	if _, err := Mine(dir); err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return fmt.Errorf("describing who gets into %s: %w", dir, err)
	}
	const change = windows.DACL_SECURITY_INFORMATION | windows.PROTECTED_DACL_SECURITY_INFORMATION
	if err := windows.SetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, change, nil, nil, dacl, nil); err != nil {
		return fmt.Errorf("closing %s to others: %w", dir, err)
	}
	return nil
}

// closed is who may do what in a folder: its owner, the system and administrators
// all, nobody else anything, whatever the folders above say.
func closed(owner string) string {
	text := "O:" + owner + "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"
	if owner != Administrators {
		text += "(A;OICI;FA;;;" + owner + ")"
	}
	return text
}

// Check refuses a folder that is not this user's, or that others get into: it is
// E1503, which says who.
func Check(dir string) error {
	owner, err := Mine(dir)
	if err != nil {
		return err
	}
	grants, err := Grants(dir)
	if err != nil {
		return err
	}
	if others := Strangers(owner, grants); len(others) > 0 {
		return errs.Of(errs.ForeignState, "dir", dir).Because(fmt.Errorf("%s is open to %s", dir, strings.Join(others, ", ")))
	}
	return nil
}

// Mine returns the owner of a folder, and refuses one that is not this user's. What
// is the administrators' or the system's is that of both.
func Mine(dir string) (owner string, err error) {
	me, err := self()
	if err != nil {
		return "", err
	}
	if owner, err = Owner(dir); err != nil {
		return "", err
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", fmt.Errorf("asking who this process is: %w", err)
	}
	if owner != me && owner != user.User.Sid.String() && (me != Administrators || owner != System) {
		return "", errs.Of(errs.ForeignState, "dir", dir).Because(fmt.Errorf("%s belongs to %s, this is %s", dir, owner, me))
	}
	return owner, nil
}

// Owner is the account that a file or folder belongs to.
func Owner(path string) (string, error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return "", fmt.Errorf("asking whose %s is: %w", path, err)
	}
	sid, _, err := sd.Owner()
	if err != nil {
		return "", fmt.Errorf("asking whose %s is: %w", path, err)
	}
	return sid.String(), nil
}

// Grants are the entries of a folder's access list that allow something.
func Grants(dir string) ([]Grant, error) {
	sd, err := windows.GetNamedSecurityInfo(dir, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return nil, fmt.Errorf("asking who gets into %s: %w", dir, err)
	}
	dacl, _, err := sd.DACL()
	if errors.Is(err, windows.ERROR_OBJECT_NOT_FOUND) || err == nil && dacl == nil {
		return []Grant{{everybody, windows.GENERIC_ALL}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking who gets into %s: %w", dir, err)
	}
	return grantsOf(dacl)
}

func grantsOf(dacl *windows.ACL) ([]Grant, error) {
	var all []Grant
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return nil, fmt.Errorf("reading an access list: %w", err)
		}
		switch ace.Header.AceType {
		case windows.ACCESS_ALLOWED_ACE_TYPE:
			sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
			all = append(all, Grant{sid.String(), uint32(ace.Mask)})
		case windows.ACCESS_DENIED_ACE_TYPE:
		default: // rare, and of another shape: rather too strict than wrong
			all = append(all, Grant{fmt.Sprintf("an entry of type %d", ace.Header.AceType), uint32(ace.Mask)})
		}
	}
	return all, nil
}

// self is whose folders this process makes: the administrators', where it has
// their rights, else its user's.
func self() (string, error) {
	administrators, err := windows.StringToSid(Administrators)
	if err != nil {
		return "", err
	}
	// Of an administrator who did not ask for these rights this is false.
	if all, err := windows.Token(0).IsMember(administrators); err != nil {
		return "", fmt.Errorf("asking for the rights of this process: %w", err)
	} else if all {
		return Administrators, nil
	}
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return "", fmt.Errorf("asking who this process is: %w", err)
	}
	return user.User.Sid.String(), nil
}
