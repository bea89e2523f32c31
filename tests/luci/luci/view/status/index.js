/* The overview: every card that there is, each asked again at every poll. One that fails takes none with it. */
'use strict';
'require view';
'require dom';
'require fs';
'require poll';

return view.extend({
	handleSave: null, handleSaveApply: null, handleReset: null,

	load() {
		return fs.list('/www' + L.resource('view/status/include')).then(entries => Promise.all(entries
			.map(entry => entry.name).sort()
			.map(name => L.require('view.status.include.' + name.replace(/\.js$/, '')).catch(() => null))));
	},

	step(first) {
		return Promise.all(this.cards.map(card => card.load().catch(() => { card.failed = true; }))).then(found => {
			this.cards.forEach((card, index) => {
				const content = card.failed ? null : card.render(found[index]);

				if (content != null) {
					this.boxes[index].parentNode.style.display = '';
					dom.content(this.boxes[index], content);
				}
				else if (first) {
					this.boxes[index].parentNode.style.display = 'none';
				}
			});
		});
	},

	render(cards) {
		this.cards = cards.filter(card => card);
		this.boxes = this.cards.map(() => E('div'));
		const sections = this.cards.map((card, index) =>
			E('div', { 'class': 'cbi-section' }, [ E('h3', [ card.title ]), this.boxes[index] ]));

		return this.step(true).then(() => {
			poll.add(() => this.step(), 5);
			return E([], sections);
		});
	}
});
