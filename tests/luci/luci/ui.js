'use strict';
'require baseclass';
'require dom';
'require uci';

return baseclass.extend({
	instantiateView(path) {
		return L.require('view.%s'.format(path.replace(/\//g, '.')));
	},

	showModal(title, children) {
		const box = document.getElementById('modal_overlay') ?? document.body.appendChild(E('div', { 'id': 'modal_overlay', 'role': 'dialog' }));

		dom.content(box, [ E('h4', {}, title) ]);
		dom.append(box, children);
	},

	changes: {
		apply() {
			return uci.apply().then(() => document.body.setAttribute('data-applied', 'true'));
		}
	}
});
