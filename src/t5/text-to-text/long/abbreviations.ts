/** Full stops that end no sentence, in English, German and French: data of {@link splitSentences}, all in lower case. */

const words = (text: string): ReadonlySet<string> => new Set(text.split(/\s+/).filter(Boolean));

/** A sentence goes on after these, whatever follows. Without the last stop, and without spaces (`z. B.` is `z.b`). */
export const ALWAYS_GOES_ON = words(`
  mr mrs ms dr drs prof rev hon gen col maj capt cmdr lt sgt cpl sen rep gov pres messrs mt vs cf viz approx e.g i.e
  hr hrn frl fa dipl ing med phil jur habil rer nat bzw evtl ggf vgl inkl exkl sog geb gest bzgl bspw mio mrd tsd
  z.b d.h u.a u.u u.ä v.a o.g s.o s.u i.d.r i.a z.t z.zt m.e m.w u.e o.ä i.e.s dipl.-ing dr.-ing
  mme mmes mlle mlles mgr av p.ex c.-à-d c-à-d env éd ibid`);

/** It goes on after these when a number follows. */
export const GOES_ON_BEFORE_NUMBER = words(`
  no nos nr nrn n p pp s ss fig figs abb tab tabl bd art kap chap ch sec sect par vol aufl anm rn ziff abs tel al ca
  jan feb mar mär apr jun jul aug sep sept oct okt nov dec dez janv févr avr juil déc`);

/** It goes on after these, and after initials (`J. S. Bach`, `the U.S. Army`), unless a {@link STARTERS} word follows. */
export const MOSTLY_GOES_ON = words(`
  st inc ltd corp co bros jr sr ph.d ave blvd rd al str v.chr n.chr jh jhd ste mm`);

/** Words that begin sentences, and rarely a name. */
export const STARTERS = words(`
  a an the this that these those it he she they we you i there here then when while if but and or so however in on at
  for after before although because as with what why how who where yet now our their his her my not nobody some many
  der die das ein eine einer es er sie wir ihr ich du man dies diese dieser dieses und aber oder doch denn wenn als
  dann da dort hier im am auf bei nach vor mit für auch nur noch wie was wer warum nun jetzt danach niemand
  il elle ils elles nous vous je tu on ce cet cette ces c mais et ou donc quand si dans après avant pour avec un une
  son sa leur`);

/** In German a number and a full stop are an ordinal after these, … */
export const BEFORE_ORDINAL = words("am vom zum beim im der den dem die das ab bis seit und");

/** … and before these. */
export const AFTER_ORDINAL = words(`
  januar jänner februar märz april mai juni juli august september oktober november dezember jahrhundert jahrhunderts
  jh mal`);
