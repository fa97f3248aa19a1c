"""The page's style sheet: one column, hairlines, tabular figures, a light and a dark theme."""

STYLE = """
:root {
  --paper: #ffffff; --ink: #1b2126; --muted: #68727c; --faint: #98a1aa; --rule: #e2e6ea; --tint: #f5f7f8;
  --tint-strong: rgba(104, 114, 124, 0.10);
  --link: #1f5f8b; --bad: #b3261e; --neg: #b3473f; --neg-soft: rgba(179, 71, 63, 0.13);
  --warn: #8a5a00; --warn-tint: #fdf6e7; --bad-tint: #fdf1f0;
  --s0: #2f6da8; --s1: #d1782b; --s2: #3b8f6b; --s3: #b04a78; --s4: #7a62b5; --s5: #8a7a2a; --s6: #2f97a8;
  --s7: #9a5b42; --s8: #6b7680; --s9: #c2524c;
  --i0: #5b7c99; --i1: #a3b8c9; --i2: #8f8470; --i3: #c4b99f; --i4: #6f9488; --i5: #b3cdc4;
  --p0: #4d8f72; --p1: #c28b4a; --p2: #5d84ad; --p3: #a9a9ae; --p4: #8d79b0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --ink: #e4e8eb; --muted: #97a2ab; --faint: #6d7881; --rule: #2b3238;
    --tint: #1a1f23; --tint-strong: rgba(151, 162, 171, 0.14);
    --link: #7fb5dd; --bad: #ef8a82; --neg: #e0837a; --neg-soft: rgba(224, 131, 122, 0.16);
    --warn: #e3b862; --warn-tint: #262013; --bad-tint: #2a1917;
    --s0: #6aa6dc; --s1: #e79a55; --s2: #64b892; --s3: #d67aa4; --s4: #a38fdb; --s5: #bba94f; --s6: #5bbccd;
    --s7: #c78a6f; --s8: #98a3ac; --s9: #e57f78;
    --i0: #7fa3c2; --i1: #4f6b83; --i2: #b5a98f; --i3: #7a6f58; --i4: #93baad; --i5: #55776b;
    --p0: #68b391; --p1: #dba763; --p2: #7fa8d4; --p3: #7b7d83; --p4: #ab96d1;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.2rem; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 "Inter", system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  font-feature-settings: "tnum", "cv05"; font-variant-numeric: tabular-nums;
  -webkit-font-smoothing: antialiased;
}
main { max-width: 1200px; margin: 0 auto; padding: 40px 32px 96px; }
h1 { font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -0.018em; margin: 0; }
h2 { font-size: 20px; font-weight: 620; letter-spacing: -0.01em; margin: 0 0 4px; }
h3 { font-size: 13px; font-weight: 620; margin: 30px 0 8px; color: var(--ink); }
.facts { margin: 6px 0 0; color: var(--muted); }
.identity { margin: 4px 0 0; font-size: 12.5px; color: var(--faint); display: flex; flex-wrap: wrap;
  gap: 2px 18px; }
code { font: 12.5px/1.4 ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, monospace;
  color: var(--muted); }
.cards {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(136px, 1fr)); gap: 20px 22px;
  margin: 28px 0 0;
  padding: 20px 0 22px; border-top: 1px solid var(--rule); border-bottom: 1px solid var(--rule);
}
.cards dt { font-size: 12.5px; color: var(--muted); }
.cards dd { margin: 1px 0 0; font-size: 24px; line-height: 1.3; font-weight: 600;
  letter-spacing: -0.015em; }
.cards dd.small { font-size: 17px; line-height: 31px; font-weight: 500; color: var(--muted);
  letter-spacing: 0; }
.cards dd.sub { font-size: 12.5px; font-weight: 400; color: var(--muted); letter-spacing: 0;
  line-height: 1.4; }
nav {
  position: sticky; top: 0; z-index: 5; display: flex; gap: 4px 18px; padding: 10px 0; margin-bottom: 12px;
  overflow-x: auto; scrollbar-width: none; background: var(--paper); border-bottom: 1px solid var(--rule);
  font-size: 13px; white-space: nowrap;
}
nav a { color: var(--muted); text-decoration: none; }
nav a:hover, nav a:focus-visible { color: var(--ink); }
section { padding: 34px 0 6px; }
section + section { border-top: 1px solid var(--rule); margin-top: 30px; }
.lead { max-width: 104ch; margin: 0 0 16px; color: var(--muted); }
.note, .caption, figcaption { max-width: 120ch; margin: 6px 0 12px; font-size: 13px; color: var(--muted); }
.empty { padding: 22px 0; margin: 0; color: var(--muted); font-style: italic; }
figure { margin: 4px 0 14px; }
.plot { width: 100%; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 13px; line-height: 1.45; }
table.compact { width: auto; min-width: 300px; }
table.compact td, table.compact th { padding-left: 32px; }
table.compact td:first-child, table.compact th:first-child { padding-left: 0; }
th, td { padding: 6px 0 6px 16px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 500; color: var(--muted); vertical-align: bottom; }
th[title] { cursor: help; }
th:first-child, td:first-child { padding-left: 0; }
th.text, td.text { text-align: left; }
td small, th small { display: block; font-size: 12px; line-height: 1.3; color: var(--faint); }
tbody tr:hover { background: var(--tint); }
tbody tr:last-child td { border-bottom: 0; }
tfoot td { font-weight: 600; border-top: 1px solid var(--faint); border-bottom: 0; }
.bad { color: var(--bad); }
.doubtful td:not(:first-child) { color: var(--muted); font-weight: 400; }
.mark { display: inline-block; width: 9px; height: 9px; border-radius: 2px; margin-right: 8px; }
.tabs { display: flex; flex-wrap: wrap; gap: 6px; margin: 4px 0 10px; }
.tabs button {
  font: inherit; font-size: 13px; padding: 5px 11px; border: 1px solid var(--rule); border-radius: 6px;
  background: none; color: var(--muted); cursor: pointer;
}
.tabs button:hover { color: var(--ink); }
.tabs button[aria-selected="true"] { color: var(--ink); border-color: var(--faint);
  background: var(--tint); }
.caption { display: none; margin-top: -8px; }
.caption.shown { display: block; }
details { margin: 10px 0; }
summary { font-size: 13px; color: var(--link); cursor: pointer; }
.banner {
  margin: 0 0 26px; padding: 14px 18px; border-radius: 6px; border: 1px solid var(--bad);
  background: var(--bad-tint); font-size: 14px;
}
.banner strong { color: var(--bad); }
.banner.soft { border-color: var(--warn); background: var(--warn-tint); }
.banner.soft strong { color: var(--warn); }
.banner pre { margin: 8px 0 0; white-space: pre-wrap; overflow-wrap: anywhere; max-height: 340px;
  overflow: auto;
  font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.banner ul { margin: 6px 0 0; padding-left: 20px; }
@media (max-width: 720px) { main { padding: 24px 16px 64px; } h1 { font-size: 24px; } }
@media print {
  nav, .tabs { display: none; }
  main { max-width: none; padding: 0; }
  section { break-inside: avoid-page; }
}
"""
