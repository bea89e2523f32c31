'use strict';
'require baseclass';
'require form';
'require rpc';

const dump = rpc.declare({ object: 'network.interface', method: 'dump', expect: { 'interface': [] } });

return baseclass.extend({
	/* Several interfaces to choose from, those that netifd knows. */
	NetworkSelect: form.ListValue.extend({
		load(section_id) {
			return dump().then(found => {
				this.networks = found.map(one => one.interface).filter(name => name != 'loopback').sort();
				return form.ListValue.prototype.load.call(this, section_id);
			});
		},

		renderWidget(section_id, value) {
			const chosen = L.toArray(value);

			return E('div', { 'id': this.id(section_id) }, this.networks.map(name => E('label', {}, [
				E('input', { 'type': 'checkbox', 'value': name, 'checked': chosen.includes(name) ? '' : null }), ' ', name
			])));
		},

		formvalue() {
			return [ ...this.node.querySelectorAll('input:checked') ].map(input => input.value);
		}
	})
});
