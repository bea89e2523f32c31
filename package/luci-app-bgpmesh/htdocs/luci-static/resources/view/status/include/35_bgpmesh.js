'use strict';
'require baseclass';
'require bgpmesh';

function row(title, value) {
	return E('tr', { 'class': 'tr' }, [
		E('td', { 'class': 'td left', 'width': '33%' }, [ title ]),
		E('td', { 'class': 'td left' }, [ value ])
	]);
}

return baseclass.extend({
	title: _('BGP mesh'),

	load() {
		return Promise.all([ bgpmesh.ask('status'), bgpmesh.ask('peers') ]);
	},

	render(answers) {
		const status = answers[0].value, peers = (answers[1].value ?? {}).peers;
		const link = E('a', { 'href': L.url('admin/status/bgpmesh') }, [ _('Details of the mesh') ]);

		/* Who may not see it has no card. */
		if (answers[0].fault == 'denied')
			return null;

		if (!status)
			return E('div', { 'class': 'bm' }, [ bgpmesh.style(), bgpmesh.headline(bgpmesh.fault(answers[0].fault)), link ]);

		const rows = [
			row(_('Address'), status.address || _('none yet')),
			row(_('BGP sessions'), _('%d of %d').format(status.bird.established, status.bird.sessions)),
			row(_('Reachable peers'), _('%d of %d').format(status.tinc.reachable, status.tinc.known))
		];

		if (Array.isArray(peers))
			rows.push(row(_('Peers online'), _('%d of %d').format(peers.filter(p => p.online).length, peers.length)));

		if (status.problems.length)
			rows.push(row(_('First problem'), status.problems[0].text));

		return E('div', { 'class': 'bm' }, [
			bgpmesh.style(),
			bgpmesh.headline(bgpmesh.state(status)),
			E('table', { 'class': 'table' }, rows),
			link
		]);
	}
});
