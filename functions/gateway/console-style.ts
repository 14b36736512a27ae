/** The style of the page at `/`. What comes later has its place from the beginning: nothing moves while an answer streams. */
import { BASE_STYLE } from "./page.ts";

export const CONSOLE_STYLE = `${BASE_STYLE}
:root{--card:light-dark(#fff,#181d24);--accent:light-dark(#0b57d0,#8ab4f8);--on-accent:light-dark(#fff,#0b1b33);--muted:light-dark(#535c68,#a5afbc);--error:light-dark(#a8201a,#ffb4ab);--error-soft:light-dark(#fdecea,#3b1d1c);--edge:light-dark(#7c8593,#7d8794);--track:light-dark(#dde3eb,#303844)}
body{max-width:78rem;padding:clamp(.75rem,2.5vw,2rem);background:light-dark(#f6f8fb,#0f1318)}
#answer-notes{margin:0}[hidden]{display:none!important}
.unseen{position:absolute;width:1px;height:1px;margin:-1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible,label:has(>.unseen:focus-visible){outline:3px solid var(--link);outline-offset:2px}
header{display:flex;flex-wrap:wrap;align-items:center;gap:.25rem .75rem;margin-bottom:1rem}
h1{font-size:1.35rem;letter-spacing:-.01em;margin:0}h2{font-size:1rem;margin:0}
header p{margin:0;color:var(--muted)}
nav{display:flex;gap:1.25rem;margin-left:auto}nav a{padding:.4rem 0}
main{display:grid;grid-template-columns:minmax(0,1fr);gap:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1rem;margin:0;min-width:0}
.row{display:flex;flex-wrap:wrap;align-items:center;gap:.5rem .75rem}
.head{min-height:2.25rem}.head>.button{margin-left:auto}
label,.label{font-weight:600}
.note{margin:0;color:var(--muted);font-size:.9rem;font-weight:400}
.error{color:var(--error)}
input:not([type=checkbox],[type=radio],[type=file]),select,textarea{font:inherit;color:inherit;background:var(--card);border:1px solid var(--edge);border-radius:.5rem;padding:.5rem .65rem;width:100%;min-width:0}
textarea{display:block;resize:vertical;line-height:1.5}
::placeholder{color:var(--muted);opacity:1}
.button{font:inherit;font-weight:600;line-height:1.25;color:inherit;background:var(--soft);border:1px solid var(--edge);border-radius:.5rem;padding:.55rem .9rem;cursor:pointer;white-space:nowrap;flex:none}
.button:hover{border-color:currentColor}
.button:disabled{color:var(--muted);border-color:var(--line);cursor:not-allowed}
.small{font-size:.85rem;padding:.35rem .65rem}.head .small{min-width:4.75rem}
.primary{background:var(--accent);border-color:var(--accent);color:var(--on-accent);min-width:6rem}
.primary:disabled{background:var(--soft);border-color:var(--line);color:var(--muted)}
#key-form{display:grid;grid-template-columns:minmax(0,1fr);gap:.4rem}
#key-form .row{flex-wrap:nowrap}
#key{font-family:ui-monospace,monospace;font-size:.9rem}
#key-note{min-height:1.5em}
#key-show[aria-pressed=true]{background:var(--accent);color:var(--on-accent)}
#run-form{display:grid;grid-template-columns:minmax(0,1fr);gap:.75rem;align-content:start}
#run-form>label{margin-bottom:-.4rem}
.about{display:flex;flex-wrap:wrap;align-items:center;gap:.4rem;margin:0;min-height:1.75rem;font-size:.85rem}
.about code{color:var(--muted);flex-basis:100%}
.badge{background:var(--soft);border:1px solid var(--line);border-radius:1rem;padding:.05rem .6rem}
#inputs{display:grid;grid-template-columns:minmax(0,1fr);gap:.75rem}
.field{display:grid;grid-template-columns:minmax(0,1fr);gap:.4rem;border-radius:.5rem}
.field .row{min-height:2.1rem}.field .row>button{margin-left:auto}
.over{outline:2px dashed var(--accent);outline-offset:.35rem}
.file,.empty{display:grid;place-content:center;justify-items:center;gap:.3rem;min-height:14.65rem;border:1px dashed var(--edge);border-radius:.5rem;background:var(--soft);color:var(--muted);padding:1rem;text-align:center}
.file strong{color:light-dark(#1b1f24,#e6e9ee)}
details{border-top:1px solid var(--line);padding-top:.25rem}
summary{cursor:pointer;padding:.35rem 0;font-weight:600;border-radius:.25rem}
#option-fields{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.75rem;padding:.4rem 0 .25rem}
#option-fields label{font-weight:400;display:grid;gap:.2rem;align-content:end}
.check{display:inline-flex;align-items:center;gap:.45rem;font-weight:400;min-height:2rem}
input[type=checkbox]{width:1.1rem;height:1.1rem;margin:0;accent-color:var(--accent)}
kbd{font:inherit;font-size:.8rem;border:1px solid var(--line);border-bottom-width:2px;border-radius:.3rem;padding:0 .3rem}
#result,#code{display:grid;grid-template-columns:minmax(0,1fr);gap:.75rem;align-content:start}
#answer{height:clamp(12rem,34vh,22rem);overflow:auto;resize:vertical;border-radius:.5rem;background:var(--soft);padding:.9rem 1rem}
.text{margin:0;font-size:1.2rem;line-height:1.55;white-space:pre-wrap}
.text+.text{border-top:1px solid var(--line);margin-top:.6rem;padding-top:.6rem}
#answer-text[aria-busy=true]>.text:last-child::after,#answer-text[aria-busy=true]:empty::after{content:"";display:inline-block;width:.5em;height:1em;margin-left:.1em;vertical-align:-.1em;background:var(--accent);border-radius:1px;animation:blink 1s steps(2,jump-none) infinite}
@keyframes blink{to{opacity:.15}}
#answer .error{background:var(--error-soft);border-radius:.5rem;padding:.6rem .8rem}#answer .error p{margin:0}#answer .text+.error{margin-top:.6rem}
#answer table{border-collapse:collapse;width:100%;margin-top:.6rem;font-size:.95rem}
#answer th{text-align:left;font-weight:400;padding:0 .75rem 0 0;width:1%;white-space:nowrap}
#answer td{padding:0}#answer .number{text-align:right;width:4.5rem;font-variant-numeric:tabular-nums}
meter{display:block;width:100%;height:1.4rem;appearance:none;background:none}
meter::-webkit-meter-bar{background:var(--track);border:0;border-radius:.35rem}
meter::-webkit-meter-optimum-value{background:var(--accent);border-radius:.35rem}
@supports selector(::-moz-meter-bar){meter{height:.7rem;background:var(--track);border:0;border-radius:.35rem;overflow:hidden}}
meter::-moz-meter-bar{background:var(--accent);border-radius:.35rem}
#figures{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.75rem;margin:0}
#figures>[hidden]{display:block!important;visibility:hidden}
dt{color:var(--muted);font-size:.8rem;line-height:1.3}
dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
#figure-model dd,#figure-request dd{font:500 .8rem/1.85 ui-monospace,monospace}
#figure-model{grid-column:span 2}#figure-request{grid-column:1/-1}
#explained-inputs{margin:.25rem 0;padding-left:1.5rem;white-space:pre-wrap}#answer-notes:not(:empty){margin:.75rem 0 0;padding-left:1.1rem}
fieldset{display:inline-flex;gap:.25rem;border:0;margin:0;padding:0}
.tab{font-size:.85rem;line-height:1.25;padding:.4rem .65rem;border:1px solid transparent;border-radius:.5rem;cursor:pointer;position:relative}
.tab:hover{background:var(--soft)}
.tab:has(:checked){background:var(--soft);border-color:var(--edge)}
.tab:has(:disabled){color:var(--muted);font-weight:400;cursor:not-allowed}
pre{margin:0;background:var(--soft);border-radius:.5rem;padding:.9rem 1rem;white-space:pre-wrap;min-height:8.2rem;max-height:30rem;overflow:auto}
@media (min-width:60rem){
main{grid-template-columns:minmax(0,1fr) minmax(0,1fr);grid-template-rows:auto auto 1fr}
#key-form,noscript{grid-column:1/-1}
#key-form{grid-template-columns:auto minmax(0,1fr) auto;align-items:center;gap:.75rem}
#key-form .row{max-width:38rem}
#code{grid-column:1/-1}
}
@media (max-width:30rem){#figures{grid-template-columns:repeat(2,minmax(0,1fr))}#figure-model{grid-column:auto}#samples fieldset{order:1}.hint{display:none}.field .row>button{margin-left:0}}
@media (prefers-reduced-motion:reduce){*,::before,::after{animation:none!important}}
`;
