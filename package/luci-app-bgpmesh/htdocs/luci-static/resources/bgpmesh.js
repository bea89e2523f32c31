'use strict';
'require baseclass';
'require rpc';

/* What the pages of the BGP mesh share: asking the agent, the words for states, a few formats, the style. */

/* Nobody answers a call to an agent that ends just then, and ubus waits half a minute for it. */
const PATIENCE = 10;               /* seconds */

const methods = {};

[ 'status', 'peers', 'routes', 'tunnels', 'sync' ].forEach(method => {
	methods[method] = rpc.declare({ object: 'luci.bgpmesh', method, expect: { '': {} }, reject: true });
});

/* The number in LuCI's RPCError is JSON-RPC's (uhttpd looks the object up before it looks at permissions) or ubus's. */
function faultOf(error) {
	const found = /failed with (?:error|ubus code) (-?\d+)/.exec(error.message);

	if (error.name == 'SessionError')
		return 'expired';

	switch (found ? +found[1] : 0) {
	case -32001: return 'expired';
	case -32002: case 6: return 'denied';
	case -32000: case 4: return 'stopped';
	case -32003: case 7: case 9: case 10: return 'silent';
	}

	return 'lost';
}

/* Colours are for shapes alone: they stand out against light and dark. Text keeps the theme's colour. */
const css = [
	'.bm{--bm-good:var(--success-color-low,#12894d);--bm-bad:var(--error-color-medium,#d9433a);--bm-warn:#b7791f;',
	'--bm-line:var(--primary-color-high,#2b7fc4);overflow-wrap:anywhere}',
	'.bm svg{display:block;width:100%;overflow:visible}.bm svg text{fill:currentColor;font-size:12px}',
	'.bm-mark{display:inline-flex;align-items:center;justify-content:center;flex:none;width:1.5em;height:1.5em;',
	'border:2px solid;border-radius:50%;font-weight:bold;line-height:1}',
	'.bm-good{border-color:var(--bm-good)}.bm-warn{border-color:var(--bm-warn);border-radius:4px}',
	'.bm-bad{border-color:var(--bm-bad);border-radius:4px}.bm-busy{border-style:dotted}',
	'.bm-row{display:flex;align-items:center;gap:.75em;margin-bottom:.75em}.bm-row h3{margin:0;padding:0;border:0}',
	'.bm-row>div{min-width:0}.bm-soft{opacity:.8}.bm p{margin:.25em 0}',
	'.bm-items{list-style:none;margin:0 0 .75em;padding:0}',
	'.bm-items li{display:flex;gap:.75em;padding:.4em 0;list-style:none;color:inherit}.bm-items li>div{min-width:0}',
].join('');

return baseclass.extend({
	/* Resolves to { value } or { fault }: expired, denied, stopped, silent or lost; never rejects. */
	ask(method) {
		return Promise.race([
			methods[method]().then(value => ({ value }), error => ({ fault: faultOf(error) })),
			new Promise(done => window.setTimeout(() => done({ fault: 'silent' }), PATIENCE * 1000))
		]);
	},

	/* Why nothing can be shown now, and what to do: [ kind, title, text ]. */
	fault(name) {
		switch (name) {
		case 'expired':
			return [ 'bad', _('Your login has expired'), _('Log in again to see what the mesh does now.') ];
		case 'denied':
			return [ 'bad', _('Access denied'), _('This login may not see the status of the mesh.') ];
		case 'stopped':
			return [ 'bad', _('The agent is not running'),
				_('Enable it under Services → BGP mesh, or in a shell: “service bgpmesh start”. Its log: “logread -e bgpmesh”.') ];
		case 'silent':
			return [ 'warn', _('The agent does not answer'),
				_('It is asked again every few seconds. If this lasts: “service bgpmesh restart_agent”.') ];
		default:
			return [ 'warn', _('The router does not answer'), _('It is asked again every few seconds.') ];
		}
	},

	/* The state of a status answer in words: [ kind, title, text ]. */
	state(status) {
		const tinc = status.tinc, bird = status.bird;

		switch (status.state) {
		case 'converged':
			return [ 'good', _('The mesh works'), (tinc.known > 0)
				? _('Peers reachable: %d of %d. BGP sessions: %d of %d.').format(
					tinc.reachable, tinc.known, bird.established, bird.sessions)
				: _('No other router has joined yet.') ];
		case 'degraded':
			return [ 'warn', _('The mesh works in part'), _('What is wrong, and what to do, is below.') ];
		case 'waiting':
			return [ 'warn', _('This router waits to join'), _('It cannot go on yet: see below.') ];
		case 'syncing':
			return [ 'busy', _('The mesh is being set up'), _('Tunnels and sessions are being made as members are known.') ];
		case 'starting':
			return [ 'busy', _('The agent is starting'), _('This takes a few seconds.') ];
		case 'stopping':
			return [ 'busy', _('The agent is stopping'), _('It is being stopped or started again.') ];
		default:
			return [ 'warn', _('Unknown state'), String(status.state) ];
		}
	},

	/* 'up': a session stands, or reflectors have its routes; 'half': there, but without; 'off': gone. */
	peerState(peer) {
		if (peer.bgp == 'Established' || peer.via?.length)
			return 'up';

		return (peer.online || peer.tinc != 'down') ? 'half' : 'off';
	},

	duration(seconds) {
		const s = Math.max(0, Math.floor(seconds));

		if (s < 60)
			return _('%d s').format(s);
		if (s < 3600)
			return _('%d min').format(s / 60);
		if (s < 86400)
			return _('%d h %d min').format(s / 3600, s % 3600 / 60);

		return _('%d d %d h').format(s / 86400, s % 86400 / 3600);
	},

	latency(ms) {
		return (ms == null) ? '–' : '%s ms'.format(ms < 10 ? ms.toFixed(1) : Math.round(ms));
	},

	/* A sign that tells the kind without its colour; the words are beside it. */
	mark(kind) {
		const sign = { good: '✓', warn: '!', bad: '×', busy: '…' }[kind];

		return E('span', { 'class': 'bm-mark bm-%s'.format(kind), 'aria-hidden': 'true' }, [ sign ]);
	},

	/* A headline of [ kind, title, text ]. */
	headline(words) {
		return E('div', { 'class': 'bm-row' }, [
			this.mark(words[0]),
			E('div', [ E('h3', [ words[1] ]), E('div', { 'class': 'bm-soft' }, [ words[2] ]) ])
		]);
	},

	style() {
		return E('style', [ css ]);
	}
});
