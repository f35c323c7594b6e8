"use strict";
// Elements and numbers. Text only ever enters the page as text nodes, so what a prompt says can't become markup.

function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function readData() {
  return JSON.parse(document.getElementById("data").textContent);
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

function formatNumber(value, digits) {
  return isNumber(value) ? value.toFixed(digits).replace("-", "\u2212") : "\u2013";
}

function formatSigned(value, digits) {
  return (isNumber(value) && Number(value.toFixed(digits)) > 0 ? "+" : "") + formatNumber(value, digits);
}

function formatPercent(share) {
  return isNumber(share) ? `${Math.round(100 * share)} %` : "\u2013";
}

function formatP(p) {
  if (!isNumber(p)) return "\u2013";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

function count(number, one, many) {
  return `${number} ${number === 1 ? one : many ?? one + "s"}`;
}
