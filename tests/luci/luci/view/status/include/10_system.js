'use strict';
'require baseclass';

return baseclass.extend({
	title: _('System'),

	load() {
		return Promise.resolve(new Date().toISOString());
	},

	render(time) {
		return E('p', [ time ]);
	}
});
