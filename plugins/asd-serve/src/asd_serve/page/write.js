// Numbers as they are written in the language of the page: `<html lang="…">`.

export const locale = document.documentElement.lang;

export const number = new Intl.NumberFormat(locale);
export const one = new Intl.NumberFormat(locale, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat(locale, { style: "percent", maximumSignificantDigits: 2 });
const twoDigits = new Intl.NumberFormat(locale, { maximumSignificantDigits: 2 });
const three = new Intl.NumberFormat(locale, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
const short = new Intl.NumberFormat(locale, { maximumSignificantDigits: 4 });

/** "1 clip", "2,000 clips". */
export const count = (n, singular, plural = `${singular}s`) => `${number.format(n)} ${n === 1 ? singular : plural}`;

export const write = {
  number: (n) => number.format(n),
  one: (n) => one.format(n),
  short: (n) => short.format(n),
  three: (n) => three.format(n), // so that a column of them is even: "1.20"
  percent: (n) => percent.format(n),
  share: (n) => fine.format(n), // a small one: "0.25%"
  p: (n) => twoDigits.format(n),
  count,
};
