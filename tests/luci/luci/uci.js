'use strict';
'require baseclass';
'require rpc';

const declare = (method, params, expect) => rpc.declare({ object: 'uci', method, params, expect, reject: true });
const call = {
	get: declare('get', [ 'config' ], { values: {} }),
	set: declare('set', [ 'config', 'section', 'values' ]),
	del: declare('delete', [ 'config', 'section', 'options' ]),
	apply: declare('apply', [ 'timeout', 'rollback' ]),
	confirm: declare('confirm')
};
const loaded = {};
let changes = {};

const same = (a, b) => JSON.stringify(a ?? null) == JSON.stringify(b ?? null);

return baseclass.extend({
	load(config) {
		loaded[config] ??= call.get(config);
		return loaded[config].then(values => { loaded[config] = Promise.resolve(values); this.values = { ...this.values, [config]: values }; });
	},

	get(config, section, option) {
		const key = [ config, section ].join('.');
		const value = (changes[key] && option in changes[key]) ? changes[key][option] : this.values[config]?.[section]?.[option];

		return (option == null) ? this.values[config]?.[section] ?? null : value ?? null;
	},

	set(config, section, option, value) {
		const key = [ config, section ].join('.');

		changes[key] ??= {};
		changes[key][option] = (value === '') ? null : value;
		if (same(changes[key][option], this.values[config]?.[section]?.[option]))
			delete changes[key][option];
	},

	unset(config, section, option) {
		this.set(config, section, option, null);
	},

	save() {
		const tasks = [];

		for (const key in changes) {
			const [ config, section ] = key.split('.');
			const entries = Object.entries(changes[key]);
			const gone = entries.filter(entry => entry[1] == null).map(entry => entry[0]);
			const values = Object.fromEntries(entries.filter(entry => entry[1] != null));

			if (Object.keys(values).length)
				tasks.push(call.set(config, section, values));
			if (gone.length)
				tasks.push(call.del(config, section, gone));
			delete loaded[config];
		}

		changes = {};
		return Promise.all(tasks);
	},

	apply() {
		return call.apply(10, true).then(() => call.confirm());
	}
});
