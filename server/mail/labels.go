package mail

// Label is the key of the template's name for people.
func (t Template) Label() string { return "mail.template." + string(t) }

// Label is the key of the state's name for people.
func (s State) Label() string { return "mail.state." + string(s) }
