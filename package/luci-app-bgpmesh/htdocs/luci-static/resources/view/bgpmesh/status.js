'use strict';
'require view';
'require dom';
'require poll';
'require fs';
'require bgpmesh';

const INTERVAL = 5;                /* seconds between polls */
const GAP = 2.5 * INTERVAL * 1000; /* samples further apart than this (ms) are not joined by a line */
const LEAST = 2000;                /* polls closer together are one sample, ms */
const KEPT = 3600 * 1000;          /* what the curves remember, ms */
const SPANS = [ 5, 15, 60 ];       /* what they show, min: the shortest that holds all samples */
const SHOWN = 30;                  /* more routes than this are folded away at first */
const EVERY = 6;                   /* routes are many and change seldom: one poll in so many asks for them */

const css = [
	'.bm-acts{display:flex;flex-wrap:wrap;gap:.5em;margin:.75em 0}.bm-old{font-style:italic}',
	'.bm-sort{font:inherit;font-weight:bold;color:inherit;background:none;border:0;padding:.25em 0;cursor:pointer;white-space:nowrap}',
	'.bm-sort:focus-visible{outline:2px solid var(--bm-line);outline-offset:2px}.bm-sort span{display:inline-block;width:1em;font-weight:normal}',
	'.bm-num{text-align:right!important}.bm-why{display:block;font-size:.95em;max-width:24em}.bm-end{min-width:11em}',
	'.bm-net{max-width:760px;margin:0 auto}.bm-key{display:flex;flex-wrap:wrap;gap:.25em 1.25em;justify-content:center;margin:.5em 0}',
	'.bm-key svg{display:inline-block;width:34px;height:14px;vertical-align:middle;margin-right:.4em}',
	'.bm-tunnel{stroke:currentColor;stroke-opacity:.35}.bm-session{stroke:var(--bm-line);stroke-width:2.5}',
	'.bm-via{stroke-dasharray:9 4}.bm-many .bm-via{stroke-width:1.2;stroke-opacity:.7}.bm-halo{paint-order:stroke;stroke:var(--background-color-high,Canvas);stroke-width:9px;stroke-linejoin:round}',
	'.bm-node{fill:var(--background-color-high,Canvas);stroke:currentColor;stroke-width:2}.bm-node.up{fill:var(--bm-line);stroke:var(--bm-line)}',
	'.bm-node.half{stroke:var(--bm-warn)}.bm-node.off{stroke-opacity:.6}.bm-net text.off{font-style:italic}.bm-own{font-weight:bold}',
	'.bm-charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,280px),1fr));gap:1em 1.5em}.bm-charts h4{margin:0}',
	'.bm-axis{stroke:currentColor;stroke-opacity:.18}.bm-curve{fill:none;stroke:var(--bm-line);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}',
	'.bm-curve.two{stroke:currentColor;stroke-width:1.5;stroke-dasharray:5 3;stroke-linecap:butt}.bm-charts .bm-key{justify-content:flex-start}',
	'.bm details>summary{cursor:pointer;margin:.25em 0}',
	'@media(max-width:600px){.bm-list{display:block}.bm-list .tr{display:flex;flex-wrap:wrap;padding:.4em 0}',
	'.bm-list .td,.bm-list .th{display:block;box-sizing:border-box;flex:1 1 50%;min-width:0;padding:3px;border:0;text-align:left!important}',
	'.bm-list .tr.table-titles{display:flex;gap:0 1em}.bm-list .th{flex:0 0 auto}.bm-list .tr+.tr{border-top:1px solid var(--border-color-medium,GrayText)}',
	'.bm-list .td[data-title]::before{display:block;font-weight:bold;content:attr(data-title)}}'
].join('');

function svg(name, attributes, children) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', name);

	for (const key in attributes)
		if (attributes[key] != null)
			node.setAttribute(key, attributes[key]);

	(children ?? []).forEach(child => {
		node.appendChild(typeof(child) == 'object' ? child : document.createTextNode(child));
	});

	return node;
}

/* Names and texts of others only ever become text nodes. */
function setText(node, text) {
	if (node.textContent !== text)
		node.textContent = text;
}

function button(title, handler) {
	let busy = false;
	const node = E('button', { 'type': 'button', 'class': 'btn cbi-button cbi-button-action' }, [ title ]);

	/* Unlike LuCI's own handlers this one keeps the focus where it is. */
	node.addEventListener('click', () => {
		if (busy)
			return;

		busy = true;
		node.setAttribute('aria-busy', 'true');
		node.classList.add('spinning');
		Promise.resolve(handler()).finally(() => {
			busy = false;
			node.removeAttribute('aria-busy');
			node.classList.remove('spinning');
		});
	});

	return node;
}

/*
 * A table that is sorted by its columns and stays as it is while it is updated. columns: { title, style, key(row) for
 * sorting, cell(row) the text, fill(td, row) in its place }; id(row) tells rows apart.
 */
function sortedTable(columns, id, empty) {
	const rows = new Map();
	const none = E('p', { 'class': 'bm-soft' }, [ empty ]);
	let by = 0, down = false, data = [];

	const heads = columns.map((column, index) => {
		const sign = E('span', { 'aria-hidden': 'true' });
		const press = E('button', { 'type': 'button', 'class': 'bm-sort' }, [ column.title, ' ', sign ]);

		press.addEventListener('click', () => {
			down = (by == index) ? !down : false;
			by = index;
			show();
		});

		return E('th', { 'class': 'th %s'.format(column.style ?? ''), 'role': 'columnheader' }, [ press ]);
	});

	const body = E('tbody', { 'role': 'rowgroup' });
	const table = E('table', { 'class': 'table bm-list', 'role': 'table' }, [
		E('thead', { 'role': 'rowgroup' }, [ E('tr', { 'class': 'tr table-titles', 'role': 'row' }, heads) ]),
		body
	]);

	function compare(a, b) {
		const x = columns[by].key(a), y = columns[by].key(b);

		/* What is not known comes last, whichever way. */
		if (x == null || y == null)
			return (x == null) - (y == null) || L.naturalCompare(id(a), id(b));

		const order = (typeof(x) == 'number') ? x - y : L.naturalCompare(x, y);

		return (down ? -order : order) || L.naturalCompare(id(a), id(b));
	}

	function show() {
		heads.forEach((head, index) => {
			head.setAttribute('aria-sort', (index != by) ? 'none' : down ? 'descending' : 'ascending');
			setText(head.firstChild.lastChild, (index != by) ? '\u00a0' : down ? '▼' : '▲');
		});

		data.sort(compare).forEach((row, index) => {
			const tr = rows.get(id(row));

			if (body.children[index] !== tr)
				body.insertBefore(tr, body.children[index] ?? null);
		});

		table.style.display = data.length ? '' : 'none';
		none.style.display = data.length ? 'none' : '';
	}

	function update(found) {
		const gone = new Set(rows.keys());

		data = found.slice();
		data.forEach(row => {
			let tr = rows.get(id(row));

			if (!tr) {
				tr = E('tr', { 'class': 'tr', 'role': 'row' }, columns.map(column =>
					E('td', { 'class': 'td %s'.format(column.style ?? ''), 'data-title': column.title, 'role': 'cell' })));
				rows.set(id(row), tr);
			}

			columns.forEach((column, index) => {
				if (column.fill)
					column.fill(tr.children[index], row);
				else
					setText(tr.children[index], column.cell(row));
			});

			gone.delete(id(row));
		});

		gone.forEach(key => {
			rows.get(key).remove();
			rows.delete(key);
		});

		show();
	}

	update([]);

	return { node: E('div', [ table, none ]), update };
}

/* Lines of text in one cell: the first beside a mark when there is one, the others below. */
function fill(td, lines, kind) {
	const key = JSON.stringify([ lines, kind ]);

	if (td.bmKey === key)
		return;

	td.bmKey = key;
	dom.content(td, lines.filter(line => line).map((line, index) =>
		E('span', { 'class': index ? 'bm-why bm-soft' : '' }, index ? [ line ] : [ kind ? bgpmesh.mark(kind) : '', kind ? ' ' : '', line ])));
}

function sessionAge(peer) {
	return (peer.bgp_age != null) ? bgpmesh.duration(peer.bgp_age) : peer.bgp_since;
}

function addressKey(address) {
	return address || null;
}

function peerTable() {
	const stands = { up: 'good', half: 'warn', off: 'bad' };
	const tunnels = { direct: _('direct'), indirect: _('relayed'), down: _('none') };
	const order = [ 'direct', 'indirect', 'down' ];

	return sortedTable([
		{
			title: _('Router'),
			key: peer => peer.node,
			fill: (td, peer) => {
				const state = bgpmesh.peerState(peer);

				fill(td, [
					peer.node,
					{ up: _('connected'), half: _('no BGP session'), off: _('offline') }[state],
					peer.lan ? _('on the same LAN') : ''
				], stands[state]);
			}
		},
		{ title: _('Address'), key: peer => addressKey(peer.address), cell: peer => peer.address || '–' },
		{
			title: _('Reached at'),
			style: 'bm-end',
			key: peer => addressKey(peer.endpoint),
			cell: peer => peer.endpoint || _('dials itself')
		},
		{
			title: _('Tunnel'),
			key: peer => order.indexOf(peer.tinc),
			cell: peer => tunnels[peer.tinc] ?? String(peer.tinc)
		},
		{
			/* Established ones first, the oldest on top. */
			title: _('BGP session'),
			key: peer => (peer.bgp == 'Established') ? -1 - (peer.bgp_age ?? 0) : peer.via?.length ? -0.5 : peer.bgp ? 0 : null,
			fill: (td, peer) => fill(td, [
				peer.bgp || (peer.via?.length ? _('via %s').format(peer.via.join(', ')) : '–'),
				(peer.bgp && sessionAge(peer)) ? _('since %s').format(sessionAge(peer)) : '',
				peer.problem
			])
		},
		{ title: _('Routes'), style: 'bm-num', key: peer => peer.routes_received, cell: peer => String(peer.routes_received) },
		{
			title: _('Latency'), style: 'bm-num',
			key: peer => peer.rtt_ms,
			fill: (td, peer) => fill(td, [
				bgpmesh.latency(peer.rtt_ms),
				peer.loss_percent ? _('%d%% lost').format(peer.loss_percent) : ''
			])
		}
	], peer => peer.node, _('No other router is known yet.'));
}

function routeTable() {
	return sortedTable([
		{ title: _('Prefix'), key: route => route.prefix, cell: route => route.prefix },
		{ title: _('Router'), key: route => route.node || null, cell: route => route.node || '–' },
		{ title: _('Next hop'), key: route => route.next_hop || null, cell: route => route.next_hop || '–' },
		{ title: _('Latency'), style: 'bm-num', key: route => route.rtt_ms, cell: route => bgpmesh.latency(route.rtt_ms) }
	], route => '%s %s'.format(route.prefix, route.next_hop), _('No routes are learned yet.'));
}

/* -- the mesh as a drawing */

function short(name, length) {
	return (name.length > length) ? name.slice(0, length - 1) + '…' : name;
}

function nodeShape(x, y, state, own, size) {
	const shapes = [ svg('circle', { 'class': 'bm-node %s'.format(state), cx: x, cy: y, r: (own || state != 'up') ? 8 : size ?? 6 }) ];

	if (own)
		shapes.unshift(svg('circle', { 'class': 'bm-node', cx: x, cy: y, r: 12 }));
	if (state == 'off')
		shapes.push(svg('path', { stroke: 'currentColor', 'stroke-width': 2, d: 'M%f %fl6 6m0 -6l-6 6'.format(x - 3, y - 3) }));
	if (state == 'half')
		shapes.push(svg('path', { stroke: 'currentColor', 'stroke-width': 2, d: 'M%f %fv5m0 2v2'.format(x, y - 4.5) }));

	return shapes;
}

function legend(shapes, text) {
	return E('span', [ svg('svg', { viewBox: '0 0 34 14', 'aria-hidden': 'true' }, shapes), text ]);
}

function drawing() {
	const picture = svg('svg', { role: 'img', 'aria-labelledby': 'bm-title bm-desc' });
	const node = E('div', { 'class': 'bm-net' }, [
		picture,
		E('div', { 'class': 'bm-key' }, [
			legend(nodeShape(17, 7, 'up'), _('connected')),
			legend(nodeShape(17, 7, 'half'), _('no BGP session')),
			legend(nodeShape(17, 7, 'off'), _('offline')),
			legend([ svg('path', { 'class': 'bm-tunnel', d: 'M1 7h32' }) ], _('tunnel')),
			legend([ svg('path', { 'class': 'bm-session', d: 'M1 7h32' }) ], _('BGP session of this router')),
			legend([ svg('path', { 'class': 'bm-session bm-via', d: 'M1 7h32' }) ], _('BGP session relayed by others'))
		])
	]);
	let drawn = '', latencies = new Map();

	/* How many names fit around the circle decides which ones are written; all are in the table. */
	function draw(own, peers, tunnels, width) {
		const count = peers.length + 1;
		const level = count <= 16;
		const room = 26 + 7 * Math.min(14, Math.max(own.length, ...peers.map(peer => peer.node.length)));
		const height = level ? Math.min(380, Math.max(260, width * .8)) : Math.min(width, 620);
		const radius = Math.max(70, Math.min(width / 2 - room, height / 2 - (level ? 32 : room)));
		const spread = level ? Math.max(radius, Math.min(width / 2 - room, radius * 1.5)) : radius;
		const every = level ? 1 : Math.ceil(count * 14 / (2 * Math.PI * (radius + 12)));
		const size = Math.max(3, Math.min(6, 2.2 * radius / count));
		const places = new Map();
		const lines = [], routers = [], names = [];

		[ { node: own } ].concat(peers).forEach((peer, index) => {
			const angle = 2 * Math.PI * index / count - Math.PI / 2;
			const across = Math.cos(angle), along = Math.sin(angle);
			const x = width / 2 + across * spread, y = height / 2 + along * radius;
			const state = index ? bgpmesh.peerState(peer) : 'up';
			const out = index ? 16 : 18;

			places.set(peer.node, [ x, y ]);
			/* This router last, on top of the lines that meet there. */
			routers[index ? 'unshift' : 'push'](svg('g', {}, [
				svg('title', {}, [ index ? peer.node : _('%s (this router)').format(own) ])
			].concat(nodeShape(x, y, state, !index, size))));

			if (index % every && state == 'up')
				return;

			const label = { 'class': 'bm-halo %s %s'.format(state, index ? '' : 'bm-own'), 'dominant-baseline': 'middle' };

			if (level) {
				label.x = x + across * out;
				label.y = y + along * (out + 4);
				label['text-anchor'] = (Math.abs(across) < .3) ? 'middle' : (across > 0) ? 'start' : 'end';
			}
			else {
				const turn = angle * 180 / Math.PI, left = across < -.001;

				label['text-anchor'] = left ? 'end' : 'start';
				label.transform = 'translate(%f %f) rotate(%f)'.format(x + across * out, y + along * out, left ? turn + 180 : turn);
			}

			names.push(svg('text', label, [ short(peer.node, 14) ]));
		});

		const line = (kind, a, b) => svg('path', { 'class': kind, fill: 'none',
			d: 'M%f %fL%f %f'.format(a[0], a[1], b[0], b[1]) });
		const direct = new Set();
		const from = places.get(own);

		tunnels.forEach(pair => {
			if (!places.has(pair[0]) || !places.has(pair[1]))
				return;
			if (pair.indexOf(own) >= 0)
				direct.add(pair[pair.indexOf(own) ? 0 : 1]);
			lines.push(line('bm-tunnel', places.get(pair[0]), places.get(pair[1])));
		});

		/* Where there is room beside the routers and the other labels. */
		const taken = [ ...places.values() ];
		const isFree = place => taken.every(other => Math.abs(other[0] - place[0]) > 46 || Math.abs(other[1] - place[1]) > 17);

		latencies = new Map();
		peers.forEach((peer, index) => {
			const to = places.get(peer.node);

			if (peer.bgp == 'Established')
				lines.push(line(direct.has(peer.node) ? 'bm-session' : 'bm-session bm-via', from, to));

			const place = (index % 2 ? [ .55, .7, .45 ] : [ .7, .55, .45 ])
				.map(part => [ from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part ]).find(isFree);

			if (!place || !direct.has(peer.node))
				return;

			const text = svg('text', {
				'class': 'bm-halo', 'text-anchor': 'middle', 'dominant-baseline': 'middle', x: place[0], y: place[1]
			});

			taken.push(place);
			latencies.set(peer.node, text);
			names.push(text);
		});

		dom.content(picture, [
			svg('title', { id: 'bm-title' }, [ _('The mesh as %s sees it').format(own) ]),
			svg('desc', { id: 'bm-desc' })
		].concat(lines, routers, names));
		picture.setAttribute('viewBox', '0 0 %d %d'.format(width, height));
		picture.setAttribute('class', level ? '' : 'bm-many');
		picture.style.height = '%dpx'.format(height);
	}

	function update(own, peers, tunnels) {
		const width = Math.round(node.clientWidth) || 600;
		const rows = peers.slice().sort((a, b) => L.naturalCompare(a.node, b.node));
		const key = JSON.stringify([ width, own, tunnels, rows.map(peer => [ peer.node, bgpmesh.peerState(peer), peer.bgp ]) ]);
		const named = state => rows.filter(peer => bgpmesh.peerState(peer) == state).map(peer => peer.node).join(', ') || _('none');

		if (key !== drawn)
			draw(own, rows, tunnels, width);
		drawn = key;

		rows.forEach(peer => {
			const text = latencies.get(peer.node);

			if (text)
				setText(text, (peer.rtt_ms == null) ? '' : bgpmesh.latency(peer.rtt_ms));
		});

		setText(picture.querySelector('desc'), _('Routers: %d. Tunnels: %d. Connected: %s. Without a BGP session: %s. Offline: %s.')
			.format(rows.length + 1, tunnels.length, named('up'), named('half'), named('off')));
	}

	return { node, update };
}

/* -- the curves */

function niceStep(most, whole) {
	const raw = Math.max(most, whole ? 1 : 1e-9) / 3;
	const unit = Math.pow(10, Math.floor(Math.log10(raw)));
	const step = [ 1, 2, 5, 10 ].map(n => n * unit).find(n => n >= raw - 1e-12);

	return whole ? Math.max(1, Math.round(step)) : step;
}

function bits(rate) {
	const unit = [ [ 1e9, 'Gbit/s' ], [ 1e6, 'Mbit/s' ], [ 1e3, 'kbit/s' ] ].find(u => rate >= u[0]) ?? [ 1, 'bit/s' ];
	const value = rate / unit[0];

	return '%s %s'.format((value < 10 && unit[0] > 1) ? +value.toFixed(1) : Math.round(value), unit[1]);
}

function clock(time) {
	return new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' });
}

/* One chart. lines: [ { name, value(sample) } ], the second one dashed; text(value) with its unit. */
function chart(title, lines, text, least, whole) {
	const picture = svg('svg', { role: 'img' });
	const axes = svg('g');
	const curves = lines.map((line, index) => svg('path', { 'class': index ? 'bm-curve two' : 'bm-curve' }));
	const now = lines.map(() => E('strong', [ '–' ]));

	picture.appendChild(axes);
	curves.forEach(curve => picture.appendChild(curve));

	function update(samples, from, until, minutes) {
		const width = Math.max(220, Math.round(picture.parentNode.clientWidth) || 330), height = 150;
		const left = 70, right = width - 6, top = 10, bottom = height - 22;
		const seen = samples.filter(sample => sample.time >= from);
		const most = Math.max(least, ...seen.map(sample => Math.max(...lines.map(line => line.value(sample) ?? 0))));
		const step = niceStep(most, whole), high = Math.ceil(most / step - 1e-9) * step;
		const x = time => left + (time - from) / (until - from) * (right - left);
		const y = value => bottom - value / high * (bottom - top);
		const marks = [];

		for (let value = 0; value <= high + step / 2; value += step)
			marks.push(
				svg('path', { 'class': 'bm-axis', d: 'M%f %fH%f'.format(left, y(value), right) }),
				svg('text', { 'text-anchor': 'end', 'dominant-baseline': 'middle', x: left - 6, y: y(value) }, [ text(value) ]));

		const every = ([ 1, 2, 5, 15, 30 ].find(n => (right - left) * n / minutes >= 60) ?? 60) * 60000;

		for (let time = Math.ceil(from / every) * every; time <= until; time += every)
			marks.push(
				svg('path', { 'class': 'bm-axis', d: 'M%f %fV%f'.format(x(time), top, bottom + 4) }),
				svg('text', { 'text-anchor': (x(time) > right - 18) ? 'end' : 'middle', x: x(time), y: height - 4 }, [ clock(time) ]));

		picture.setAttribute('viewBox', '0 0 %d %d'.format(width, height));
		picture.style.height = '%dpx'.format(height);
		dom.content(axes, marks);

		lines.forEach((line, index) => {
			let path = '', last = null;

			seen.forEach(sample => {
				const value = line.value(sample);

				if (value != null) {
					const joined = last != null && sample.time - last <= GAP;

					/* A lone sample is a dot: a line of no length, which the round ends make visible. */
					path += '%s%s %s'.format(joined ? 'L' : 'M', x(sample.time).toFixed(1), y(value).toFixed(1));
					path += joined ? '' : 'h0.1';
				}

				last = (value != null) ? sample.time : null;
			});

			curves[index].setAttribute('d', path);

			const value = samples.length ? line.value(samples[samples.length - 1]) : null;

			setText(now[index], (value == null) ? '–' : text(value));
		});

		picture.setAttribute('aria-label', _('%s, the last %d minutes. Now: %s').format(title, minutes,
			lines.map((line, index) => '%s %s'.format(line.name, now[index].textContent)).join(', ')));
	}

	return {
		update,
		node: E('div', [
			E('h4', [ title ]),
			E('div', { 'class': 'bm-key' }, lines.map((line, index) => E('span', [
				svg('svg', { viewBox: '0 0 34 14', 'aria-hidden': 'true' }, [
					svg('path', { 'class': index ? 'bm-curve two' : 'bm-curve', d: 'M1 7h32' })
				]),
				line.name, ' ', now[index]
			]))),
			E('div', [ picture ])
		])
	};
}

function charts() {
	return [
		chart(_('Peers'), [
			{ name: _('BGP sessions'), value: sample => sample.sessions },
			{ name: _('reachable'), value: sample => sample.reachable }
		], value => String(value), 2, true),
		chart(_('Latency'), [
			{ name: _('median'), value: sample => sample.median },
			{ name: _('worst'), value: sample => sample.worst }
		], value => '%s ms'.format(+value.toFixed(value < 10 ? 1 : 0)), 1, false),
		chart(_('Traffic of the mesh'), [
			{ name: _('in'), value: sample => sample.received },
			{ name: _('out'), value: sample => sample.sent }
		], bits, 1000, false)
	];
}

/* What the curves show of one poll; before: the last one that was answered, or null. */
function sampleOf(time, status, before) {
	const sample = {
		time,
		sessions: status.bird.established,
		reachable: status.tinc.reachable,
		median: status.latency.median_ms,
		worst: status.latency.worst_ms,
		rx: status.tinc.rx_bytes,
		tx: status.tinc.tx_bytes,
		received: null,
		sent: null
	};

	/* A counter that went back was started again: what passed meanwhile is not known. */
	if (before && time - before.time <= GAP && sample.rx >= before.rx && sample.tx >= before.tx) {
		sample.received = (sample.rx - before.rx) * 8000 / (time - before.time);
		sample.sent = (sample.tx - before.tx) * 8000 / (time - before.time);
	}

	return sample;
}

return view.extend({
	handleSave: null,
	handleSaveApply: null,
	handleReset: null,

	answers: null,  /* the last ones that came: { time, status, peers, tunnels, routes } */
	fault: null,
	samples: [],
	polls: 0,

	load() {
		return this.ask();
	},

	/* One look at the agent; never rejects. */
	ask() {
		const names = [ 'status', 'peers', 'tunnels' ];

		if (this.polls++ % EVERY == 0 || !this.answers)
			names.push('routes');

		return Promise.all(names.map(name => bgpmesh.ask(name))).then(found => {
			const time = Date.now();
			const [ status, peers, tunnels, routes ] = found;

			this.fault = status.fault ?? peers.fault ?? null;

			/* The clock was set back: what lies ahead of it has no place any more. */
			this.samples = this.samples.filter(sample => sample.time < time && sample.time > time - KEPT);

			if (this.fault) {
				this.samples.push({ time });
				return;
			}

			const rows = peers.value.peers ?? [];

			const before = this.samples[this.samples.length - 1];

			/* A rate over less than a second or two says nothing. */
			if (!before || before.sessions == null || time - before.time > LEAST)
				this.samples.push(sampleOf(time, status.value, before));

			this.answers = {
				time,
				status: status.value,
				peers: rows,
				known: peers.value.total ?? rows.length,
				tunnels: (tunnels.value ?? {}).tunnels ?? rows.filter(peer => peer.tinc == 'direct')
					.map(peer => [ status.value.node, peer.node ]),
				routes: routes?.value ?? this.answers?.routes
			};
		});
	},

	render() {
		this.head = E('div', { 'aria-live': 'polite' });
		this.age = E('p', { 'class': 'bm-old' });
		this.facts = E('table', { 'class': 'table' });
		this.done = E('div', { 'aria-live': 'polite' });
		this.net = drawing();
		this.peerTable = peerTable();
		this.peerCount = E('p', { 'class': 'bm-soft' });
		this.routeTable = routeTable();
		this.routeCount = E('span');
		this.routeBox = E('details', { 'open': (this.answers?.routes?.total > SHOWN) ? null : '' }, [
			E('summary', [ this.routeCount ]), this.routeTable.node
		]);
		this.charts = charts();
		this.known = E('div', [
			E('div', { 'class': 'cbi-section' }, [ E('h3', [ _('The mesh') ]), this.net.node ]),
			E('div', { 'class': 'cbi-section' }, [ E('h3', [ _('Routers') ]), this.peerCount, this.peerTable.node ]),
			E('div', { 'class': 'cbi-section' }, [
				E('h3', [ _('Curves') ]),
				E('div', { 'class': 'bm-charts' }, this.charts.map(one => one.node))
			]),
			E('div', { 'class': 'cbi-section' }, [
				E('h3', [ _('Routes') ]),
				this.routeBox
			])
		]);

		const sync = button(_('Sync now'), () => this.sync());

		if (L.hasViewPermission() === false)
			sync.disabled = true;

		const page = E('div', { 'class': 'cbi-map bm' }, [
			bgpmesh.style(),
			E('style', [ css ]),
			E('h2', [ _('BGP mesh') ]),
			E('div', { 'class': 'cbi-section' }, [
				this.head,
				this.age,
				E('div', { 'class': 'bm-acts' }, [ button(_('Check now'), () => this.check()), sync ]),
				this.done,
				this.facts
			]),
			this.known
		]);

		/* Sizes are known once the page shows it. */
		window.setTimeout(() => this.update(), 0);
		window.addEventListener('resize', () => this.update());
		/* Polls end where the login does; ages go on. */
		window.setInterval(() => this.showAge(), 1000);
		poll.add(() => this.ask().then(() => this.update()), INTERVAL);

		return page;
	},

	update() {
		const found = this.answers, until = Date.now();
		const words = this.fault ? bgpmesh.fault(this.fault) : bgpmesh.state(found.status);
		const doing = this.fault ? '' : found.status.doing;
		const problems = (this.fault || !found) ? [] : found.status.problems;
		const key = JSON.stringify([ words, doing, problems.map(problem => [ problem.subject, problem.text ]) ]);

		/* Read out by screen readers when it changes: only then is it written. */
		if (this.head.bmKey !== key) {
			this.head.bmKey = key;
			dom.content(this.head, [
				bgpmesh.headline(words),
				doing ? E('p', { 'class': 'bm-doing' }, [ E('em', { 'class': 'spinning' }, [ _('Now: %s').format(doing) ]) ]) : '',
				E('ul', { 'class': 'bm-items bm-problems' }, problems.map(problem =>
					E('li', [ bgpmesh.mark('warn'), E('div', [ problem.text ]) ])))
			]);
		}

		this.showAge();
		this.known.style.display = found ? '' : 'none';
		this.facts.style.display = found ? '' : 'none';

		if (!found)
			return;

		this.showFacts(found.status);
		/* A router alone is no picture. */
		this.net.node.parentNode.style.display = found.peers.length ? '' : 'none';
		if (found.peers.length)
			this.net.update(found.status.node, found.peers, found.tunnels);
		setText(this.peerCount, (found.known > found.peers.length)
			? _('%d other routers are known; the first %d are shown').format(found.known, found.peers.length) : '');
		this.peerTable.update(found.peers);

		const routes = found.routes ?? { routes: [], total: 0 };

		setText(this.routeCount, (routes.total > routes.routes.length)
			? _('%d routes learned over the mesh; the first %d are shown').format(routes.total, routes.routes.length)
			: _('Routes learned over the mesh: %d').format(routes.total));
		this.routeTable.update(routes.routes);

		const oldest = this.samples.length ? this.samples[0].time : until;
		const minutes = SPANS.find(span => until - oldest <= span * 60000) ?? SPANS[SPANS.length - 1];

		this.charts.forEach(one => one.update(this.samples, until - minutes * 60000, until, minutes));
	},

	showAge() {
		const seconds = this.answers ? (Date.now() - this.answers.time) / 1000 : 0;

		setText(this.age, (this.answers && (this.fault || seconds > 3 * INTERVAL))
			? _('What is shown below was so %s ago.').format(bgpmesh.duration(seconds)) : '');
	},

	showFacts(status) {
		const etcd = status.etcd, tinc = status.tinc, bird = status.bird;
		const running = (daemon, text) => daemon.running ? text : _('not running');
		const rows = [
			[ _('This router'), status.node || _('no name yet') ],
			[ _('Address'), status.address || _('none yet') ],
			[ _('Announced'), status.prefixes.join(', ') || _('nothing') ],
			[ _('Registry'), !etcd.endpoint ? _('none yet')
				: etcd.reachable ? _('%s answers').format(etcd.endpoint)
				: (etcd.age < 0) ? _('%s has never answered').format(etcd.endpoint)
				: _('%s does not answer; the last answer is %s old').format(etcd.endpoint, bgpmesh.duration(etcd.age)) ],
			[ _('Tunnels'), running(tinc, _('tinc %s on %s, reachable peers: %d of %d')
				.format(tinc.version, tinc.interface, tinc.reachable, tinc.known)) ],
			[ _('Routing'), running(bird, _('BIRD %s, BGP sessions: %d of %d')
				.format(bird.version, bird.established, bird.sessions)) ],
			[ _('Agent'), _('version %s, running for %s').format(status.version, bgpmesh.duration(status.uptime)) ]
		];

		rows.forEach((row, index) => {
			const tr = this.facts.children[index] ?? this.facts.appendChild(E('tr', { 'class': 'tr' }, [
				E('td', { 'class': 'td left', 'width': '33%' }), E('td', { 'class': 'td left' })
			]));

			row.forEach((text, column) => setText(tr.children[column], text));
		});
	},

	/* -- buttons */

	check() {
		return fs.exec('/usr/sbin/bgpmesh', [ 'check', '-j' ]).then(result => {
			let found;

			try {
				found = JSON.parse(result.stdout);
			}
			catch {
				throw new Error(result.stderr || result.stdout || _('It printed nothing.'));
			}

			dom.content(this.done, [
				E('h4', [ found.ok ? _('Every layer is fine') : _('Not every layer is fine') ]),
				E('ul', { 'class': 'bm-items bm-layers' }, found.layers.map(layer => E('li', [
					bgpmesh.mark(layer.ok ? 'good' : 'bad'),
					E('div', [
						E('strong', [ layer.name ]), ' – ', layer.ok ? _('fine') : _('not fine'),
						E('div', [ layer.text ]),
						layer.remedy ? E('div', { 'class': 'bm-remedy' }, [ _('What to do: %s').format(layer.remedy) ]) : ''
					])
				])))
			]);
		}).catch(error => this.say([ 'bad', _('The check could not be run'), error.message ]));
	},

	sync() {
		return bgpmesh.ask('sync').then(found => this.say(found.fault ? bgpmesh.fault(found.fault)
			: [ 'good', _('The registry is asked now'), _('What is new there is taken within seconds.') ]));
	},

	say(words) {
		dom.content(this.done, [ bgpmesh.headline(words) ]);
	}
});
