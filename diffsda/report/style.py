"""How a page looks: light or dark as the reader has it, on a wide screen or a phone."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --line: #d0d7de;
  --band: #f6f8fa; --good: #0b6b3a; --bad: #a63c00; --link: #0a58ca; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a3adb8; --paper: #14171b;
  --line: #3a424c; --band: #1d2228; --good: #5fd39a; --bad: #ffab70; --link: #8ab4f8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.2rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .4rem; }
p { max-width: 44rem; margin: .5rem 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; min-width: min(100%, 28rem); font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
caption span { display: block; max-width: min(44rem, calc(100vw - 2.2rem)); }
th, td { text-align: left; padding: .4rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { background: var(--band); }
td.number { text-align: right; white-space: nowrap; }
.met, .missed { white-space: nowrap; font-weight: 600; }
.met { color: var(--good); }
.missed { color: var(--bad); }
figure { margin: 1.4rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 6px;
  border: 1px solid var(--line); }
figcaption { color: var(--soft); margin-top: .5rem; max-width: 44rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
footer { border-top: 1px solid var(--line); margin-top: 2.5rem; color: var(--soft); font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dd { margin: 0; overflow-wrap: anywhere; }
figure.film { container-type: inline-size; }
figure video { display: block; width: 100%; height: auto; object-fit: contain; object-position: top;
  background: var(--band); border-radius: 6px; }
video.still { display: none; }
@media (prefers-reduced-motion: reduce) { video.moving { display: none; } video.still { display: block; } }
nav { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .9rem; margin: 1rem 0; max-width: 44rem; }
nav ul { margin: .2rem 0; padding-left: 1.2rem; columns: 15rem; }
a { color: var(--link); }
h2 a { color: inherit; text-decoration: none; }
h2 a:hover, h2 a:focus { text-decoration: underline; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
tr.baseline, tr.published { color: var(--soft); }
tr.baseline td:first-child { font-style: italic; }
.tag { display: inline-block; font: 600 .75rem/1.4 system-ui, sans-serif; border: 1px solid var(--line);
  border-radius: 4px; padding: 0 .35rem; background: var(--band); color: var(--ink); white-space: nowrap; }
.small { display: block; font-size: .85rem; color: var(--soft); max-width: 22rem; white-space: normal;
  text-align: left; }
@media (max-width: 40rem) { th, td { padding: .35rem .5rem; }
  figure img { max-width: none; width: max(100%, 34rem); } }
"""
