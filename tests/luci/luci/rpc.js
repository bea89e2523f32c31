'use strict';
'require baseclass';

let queue = [];
let lastId = 0;

/* Calls of one frame are one request. A hidden tab has no frames: its calls wait. */
function send(message) {
	return new Promise((resolve, reject) => {
		queue.push({ message, resolve, reject });
		if (queue.length == 1)
			window.requestAnimationFrame(flush);
	});
}

function flush() {
	const batch = queue;

	queue = [];
	fetch(L.env.ubuspath, {
		method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(batch.map(one => one.message))
	}).then(reply => reply.ok ? reply.json() : L.raise('RPCError', 'RPC call failed with HTTP error %d'.format(reply.status)))
		.then(answers => batch.forEach((one, index) => one.resolve(answers[index])))
		.catch(error => batch.forEach(one => one.reject(error)));
}

return baseclass.extend({
	declare(options) {
		return (...args) => {
			const params = {};

			(options.params ?? []).forEach((name, index) => { params[name] = args[index]; });

			return send({
				jsonrpc: '2.0', id: ++lastId, method: 'call',
				params: [ L.env.sessionid, options.object, options.method, params ]
			}).then(answer => this.checked(options, answer)).then(answer => this.result(options, answer));
		};
	},

	/* Denied may mean expired: then the session may not even read LuCI's own options. */
	checked(options, answer) {
		if (answer.error?.code != -32002 || (options.object == 'session' && options.method == 'access'))
			return answer;

		return this.declare({ object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ] })('uci', 'luci', 'read')
			.then(() => answer, () => L.notifySessionExpiry());
	},

	result(options, answer) {
		const name = '%s/%s'.format(options.object, options.method);

		if (answer.error)
			L.raise('RPCError', 'RPC call to %s failed with error %d: %s\n  at here'.format(name, answer.error.code, answer.error.message));
		if (options.reject && answer.result[0] !== 0)
			L.raise('RPCError', 'RPC call to %s failed with ubus code %d: %s'.format(name, answer.result[0], this.getStatusText(answer.result[0])));

		let value = (answer.result.length > 1) ? answer.result[1] : answer.result[0];

		for (const key in options.expect ?? {}) {
			if (value != null && key != '')
				value = value[key];
			if (value == null || {}.toString.call(value) != {}.toString.call(options.expect[key]))
				value = options.expect[key];
		}

		return value;
	},

	getStatusText(status) {
		return 'status %d'.format(status);
	}
});
