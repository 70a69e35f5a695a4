// What the pages do beyond plain links and forms. Every page works without it.
(() => {
  const all = (selector, root = document) => root.querySelectorAll(selector);

  // The eye of a password field.
  for (const eye of all('[data-eye]')) {
    const field = document.getElementById(eye.dataset.eye);
    eye.hidden = false;
    eye.addEventListener('click', () => {
      const shown = field.type === 'password';
      field.type = shown ? 'text' : 'password';
      eye.setAttribute('aria-pressed', String(shown));
      field.focus();
    });
  }

  // The server writes times in this computer's zone once it knows it.
  for (const field of all('input[name=zone]')) {
    field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || '';
  }

  // What was typed is there again in the other language or theme, secrets apart.
  const typed = () =>
    [...all('main form input, main form select, main form textarea')].filter(
      (field) => !['hidden', 'password', 'file'].includes(field.type) && field.name !== 'code' && !document.querySelector(`[data-eye="${field.id}"]`),
    );
  for (const form of all('form.languages, form.themes')) {
    form.addEventListener('submit', () => {
      const fields = typed().map((field) => [field.name, field.value, field.checked]);
      sessionStorage.setItem('typed', JSON.stringify({ at: form.elements.back.value, fields }));
    });
  }
  const kept = JSON.parse(sessionStorage.getItem('typed'));
  sessionStorage.removeItem('typed');
  if (kept && kept.at === location.pathname + location.search) {
    const fields = typed();
    kept.fields.forEach(([name, value, checked], i) => {
      const field = fields[i];
      if (!field || field.name !== name) {
        return;
      }
      if (field.type === 'checkbox' || field.type === 'radio') {
        field.checked = checked;
      } else if (field.value !== value) {
        field.value = value;
        field.closest('details')?.setAttribute('open', '');
      }
    });
  }

  // A dangerous form is sent only when the name asked for has been typed.
  for (const form of all('form[data-confirm]')) {
    const field = form.querySelector('[name=confirm]');
    const button = form.querySelector('[type=submit]');
    const check = () => {
      button.disabled = field.value.trim().toLowerCase() !== form.dataset.confirm.toLowerCase();
    };
    field.addEventListener('input', check);
    check();
  }

  // A filter takes effect when it is chosen.
  for (const button of all('[data-submits]')) {
    button.hidden = true;
  }
  for (const field of all('[data-submit]')) {
    field.addEventListener('change', () => field.form.requestSubmit());
  }

  // On a narrow screen the choice of a snapshot steps back behind its files.
  if (matchMedia('(max-width: 991.98px)').matches) {
    for (const box of all('details.when')) {
      box.open = false;
    }
  }

  // Copies a value shown once.
  for (const button of all('[data-copy]')) {
    button.hidden = !navigator.clipboard;
    button.addEventListener('click', async () => {
      const value = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(value.textContent);
      } catch {
        getSelection().selectAllChildren(value); // the browser does not let us: one key is left to press
        return;
      }
      const use = button.querySelector('use');
      use.setAttribute('href', use.getAttribute('href').replace(/#.*/, '#check'));
      button.classList.add('copied');
    });
  }

  // A selection: how many entries and how large, and the box that takes all.
  for (const form of all('form[data-selection]')) {
    const boxes = [...all('input[type=checkbox][name=e]', form)];
    const whole = form.querySelector('[data-all]');
    const bar = form.querySelector('[data-bar]');
    const sums = form.querySelector('[data-sums]');
    const update = () => {
      const chosen = boxes.filter((b) => b.checked);
      bar.hidden = chosen.length === 0;
      const size = chosen.reduce((n, b) => n + Number(b.dataset.size), 0);
      const folders = chosen.some((b) => b.dataset.folder);
      const count = (chosen.length === 1 ? sums.dataset.single : sums.dataset.other).replace('#', chosen.length);
      sums.textContent = count + (folders ? '' : ' · ' + bytes(size));
      if (whole) {
        whole.checked = chosen.length > 0 && chosen.length === boxes.length;
        whole.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
      }
    };
    if (whole) {
      whole.hidden = false;
      whole.addEventListener('change', () => {
        for (const box of boxes) {
          box.checked = whole.checked;
        }
        update();
      });
    }
    form.addEventListener('change', update);
    addEventListener('pageshow', update);
    update();
  }

  function bytes(n) {
    const french = document.documentElement.lang === 'fr';
    const units = ['', 'k', 'M', 'G', 'T'];
    let i = 0;
    while (n >= 999.5 && i < units.length - 1) {
      n /= 1000;
      i++;
    }
    const digits = i === 0 || n >= 99.95 ? 0 : 1;
    const number = n.toLocaleString(french ? 'fr' : 'en', { maximumFractionDigits: digits });
    return number + '\u00a0' + units[i] + (french ? 'o' : 'B');
  }

  // "/" goes to the search field.
  document.addEventListener('keydown', (event) => {
    const search = document.querySelector('input[type=search]');
    if (event.key !== '/' || !search || event.target.closest('input, textarea, select')) {
      return;
    }
    event.preventDefault();
    search.focus();
  });
})();
