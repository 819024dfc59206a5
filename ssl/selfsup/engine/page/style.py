"""The page's style sheet."""

CSS = """
:root{--ink:#1b1f24;--soft:#5b6470;--line:#d9dee4;--back:#fff;--tint:#f4f6f8;--mark:#0072b2}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:var(--back);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main,header,nav{max-width:1080px;margin:0 auto;padding:0 16px}
header{padding-top:24px}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:36px 0 8px;padding-top:8px;border-top:1px solid var(--line)}
p{margin:8px 0;max-width:75ch;overflow-wrap:anywhere}
header p,.small,.absent{color:var(--soft)}
.small{font-size:.86rem}
.absent{font-style:italic}
.verdict{padding:8px 12px;background:var(--tint);border-left:4px solid var(--mark);max-width:none}
nav ul,.facts,.legend{list-style:none;padding:0;margin:8px 0;display:flex;flex-wrap:wrap;gap:4px 16px}
nav{position:sticky;top:0;background:var(--back);border-bottom:1px solid var(--line);z-index:2;overflow-x:auto}
nav ul{flex-wrap:nowrap;white-space:nowrap;font-size:.9rem}
a{color:var(--mark)}
section{scroll-margin-top:48px}
.scroll{overflow-x:auto;margin:8px 0;max-width:100%}
.scroll:focus-visible,#plane:focus-visible,button:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
table{border-collapse:collapse;font-size:.92rem}
th,td{padding:4px 10px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom}
tbody th{font-weight:500}
.numbers td,.numbers thead th+th,.matrix td,.matrix thead th+th{text-align:right;font-variant-numeric:tabular-nums}
.pictures td,.pictures th{padding:4px}
.matrix td{padding:1px;vertical-align:middle}.matrix td:last-child,.matrix thead th:last-child{padding-left:12px}
.matrix tbody th{white-space:nowrap}
.cell{display:block;min-width:34px;padding:4px 6px;text-align:center}
img{display:block;max-width:100%;height:auto;image-rendering:pixelated;background:var(--tint)}
td img,th img,.near img,.cards img{max-width:none}
figure{margin:0}
figcaption{font-size:.82rem;color:var(--soft);overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,310px),1fr));gap:16px 20px}
.chart figcaption{font-size:.92rem;font-weight:600;color:var(--ink)}
.chart svg{width:100%;height:auto;display:block}
.chart text{font-size:11px;fill:var(--soft)}
.grid{stroke:var(--line);stroke-width:1}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}
.legend{font-size:.82rem;gap:0 14px;margin:0}
.chart .legend .key{width:24px;height:10px;display:inline-block}
.strip{display:flex;gap:6px;padding-right:12px}
.near{text-align:center;flex:none}
.near figcaption{max-width:72px;overflow:hidden;white-space:nowrap;text-overflow:ellipsis}
.near img{border:3px solid transparent;margin:0 auto}
.same img{border-color:#009e73}.other img{border-color:#d55e00;border-style:dashed}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(108px,1fr));gap:14px}
.wide img{width:100%}
.map{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}
.plane{position:relative;flex:1 1 420px;max-width:680px;min-width:0}
#plane{display:block;width:100%;height:auto;max-height:80vh;background:var(--tint);touch-action:pan-y;cursor:crosshair}
#plane circle{opacity:.85}#plane .dim{opacity:.07}
#plane .on{stroke:#000;stroke-width:2.5;vector-effect:non-scaling-stroke}
.zoom{position:absolute;right:8px;top:8px;display:flex;gap:4px}
button{font:inherit;font-size:.86rem;min-height:34px;min-width:34px;padding:4px 9px;color:inherit;background:#fff;
border:1px solid var(--line);border-radius:4px;cursor:pointer}
button[aria-pressed=true]{border-color:var(--ink);box-shadow:inset 0 0 0 1px var(--ink)}
.classes{display:flex;flex-wrap:wrap;gap:6px;margin:10px 0}
.classes i{display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:6px}
.panel{flex:1 1 180px;min-height:150px}
#seen{image-rendering:pixelated;background-repeat:no-repeat}
pre{background:var(--tint);padding:10px 12px;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere}
code{font:.86rem ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;overflow-wrap:anywhere}
.scroll th code,.numbers td{white-space:nowrap}
summary{cursor:pointer;padding:6px 0}
footer{color:var(--soft);font-size:.86rem;max-width:1080px;margin:32px auto;padding:0 16px}
@media (max-width:600px){
th,td{padding:4px 7px}
h1{font-size:1.3rem}
.panel{display:flex;gap:12px;flex-basis:100%;min-height:110px}
#seen{flex:none}
}
@page{margin:14mm}
@media print{
nav,.zoom,.panel{display:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{font-size:11pt}
main,header{max-width:none;padding:0}
.scroll{overflow:visible}
h2,section>p{break-after:avoid}
figure,tr,.verdict{break-inside:avoid}
.charts{grid-template-columns:repeat(3,1fr)}
.plane{max-width:150mm}
.matrix,.pictures{font-size:8pt}
}
"""
