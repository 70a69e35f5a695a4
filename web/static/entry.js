// What the pages do by which people come in. Every page works without it.
(() => {
  const all = (selector, root = document) => root.querySelectorAll(selector);

  // A password that is wrong because of caps lock is the commonest wrong one.
  for (const field of all('input[type=password]')) {
    const hint = document.getElementById('caps-' + field.id);
    if (!hint) {
      continue;
    }
    const look = (event) => {
      hint.hidden = !event.getModifierState || !event.getModifierState('CapsLock');
    };
    field.addEventListener('keydown', look);
    field.addEventListener('keyup', look);
    field.addEventListener('blur', () => {
      hint.hidden = true;
    });
  }

  // Waiting: the seconds count down, and what must wait is possible again
  // afterwards.
  for (const line of all('[data-wait]')) {
    const end = performance.now() + 1000 * Number(line.dataset.wait);
    const held = document.getElementById(line.dataset.holds);
    const tick = () => {
      const left = Math.ceil((end - performance.now()) / 1000);
      if (held) {
        held.disabled = left > 0;
      }
      if (left <= 0) {
        (line.closest('.alert') || line).hidden = true;
        return;
      }
      const number = left.toLocaleString(document.documentElement.lang);
      line.textContent = (left === 1 ? line.dataset.single : line.dataset.other).replace('#', number);
      setTimeout(tick, 250);
    };
    line.hidden = false;
    tick();
  }

  // The lines of the password policy turn green as they hold. The server checks
  // them again, and some that only it can.
  const letters = (text) => [...text.normalize('NFC')];
  const rules = {
    length: (p, line) => letters(p).length >= Number(line.dataset.n) && letters(p).length <= Number(line.dataset.max || 256),
    upper: (p) => /[A-Z]/.test(p),
    lower: (p) => /[a-z]/.test(p),
    digit: (p) => /[0-9]/.test(p),
    symbol: (p) => /[^\p{L}\p{Nd}\s\p{Cc}]/u.test(p),
    allowed: (p) => p !== '' && !/["'<>&;]/.test(p),
  };
  for (const list of all('[data-rules]')) {
    const field = document.getElementById(list.dataset.rules);
    const update = () => {
      for (const line of all('[data-rule]', list)) {
        const rule = rules[line.dataset.rule];
        if (rule) {
          line.classList.toggle('holds', rule(field.value, line));
          line.classList.remove('fails');
        }
      }
    };
    field.addEventListener('input', update);
    if (field.value) {
      update();
    }
  }

  // The same password twice.
  for (const second of all('[data-same]')) {
    const first = document.getElementById(second.dataset.same);
    const check = () => {
      const differ = second.value !== '' && second.value !== first.value;
      second.setCustomValidity(differ ? second.dataset.differ : '');
    };
    first.addEventListener('input', check);
    second.addEventListener('input', check);
  }

  // Boxes of a serial number or a code: typing goes on in the next one, and
  // pasting fills all.
  for (const group of all('[data-boxes]')) {
    const boxes = [...all('input', group)];
    const size = Number(boxes[0].maxLength);
    const unwanted = group.dataset.boxes === 'digits' ? /[^0-9]/g : /[^0-9A-Za-z]/g;
    const spread = (text, from) => {
      let at = from;
      for (let rest = text; rest && at < boxes.length; at++) {
        boxes[at].value = rest.slice(0, size);
        rest = rest.slice(size);
      }
      const last = boxes[Math.min(at, boxes.length) - 1];
      const next = last && last.value.length === size ? boxes[boxes.indexOf(last) + 1] || last : last;
      if (next) {
        next.focus();
      }
    };
    boxes.forEach((box, i) => {
      box.removeAttribute('maxlength'); // a phone fills a whole code into the first
      box.addEventListener('input', () => {
        const text = box.value.replace(unwanted, '').toUpperCase();
        if (text.length > size) {
          spread(text, text.length >= size * boxes.length ? 0 : i);
          return;
        }
        box.value = text;
        if (text.length === size && i + 1 < boxes.length) {
          boxes[i + 1].focus();
        }
      });
      box.addEventListener('paste', (event) => {
        const text = event.clipboardData.getData('text').replace(unwanted, '').toUpperCase();
        event.preventDefault();
        spread(text, text.length >= size * boxes.length ? 0 : i);
      });
      box.addEventListener('focus', () => box.select());
      box.addEventListener('keydown', (event) => {
        const edge = box.selectionStart === 0 && box.selectionEnd === 0;
        if (event.key === 'Backspace' && box.value === '' && i > 0) {
          boxes[i - 1].focus();
          event.preventDefault();
        } else if (event.key === 'ArrowLeft' && edge && i > 0) {
          boxes[i - 1].focus();
        }
      });
    });
  }

  for (const button of all('[data-print]')) {
    button.hidden = false;
    button.addEventListener('click', () => print());
  }
})();
