/* Map, NamedSection with tabs, and the widgets Value, Flag, ListValue and DynamicList. */
'use strict';
'require baseclass';
'require dom';
'require rpc';
'require uci';
'require ui';

const access = rpc.declare({
	object: 'session', method: 'access', params: [ 'scope', 'object', 'function' ], expect: { access: true }
});

const Map = baseclass.extend({
	__init__(config, title, description) {
		Object.assign(this, { config, title, description, sections: [] });
	},

	section(kind, ...args) {
		this.sections.push(new kind(this, ...args));
		return this.sections[this.sections.length - 1];
	},

	load() {
		return Promise.all([ access('uci', this.config, 'write'), uci.load(this.config) ]).then(found => {
			this.readonly = found[0] === false;
			return Promise.all(this.sections.map(section => section.load()));
		});
	},

	render() {
		return this.load().then(() => this.reset());
	},

	/* As LuCI does, titles and descriptions are handed to E() as strings: they are markup. */
	reset() {
		this.root ??= E('div', { 'class': 'cbi-map', 'id': 'cbi-' + this.config });
		dom.bindClassInstance(this.root, this);

		return Promise.all(this.sections.map(section => section.render())).then(nodes => {
			dom.content(this.root, [ E('h2', {}, this.title), E('div', { 'class': 'cbi-map-descr' }, this.description) ].concat(nodes));
			return this.root;
		});
	},

	save() {
		return Promise.all(this.sections.map(section => section.parse()))
			.then(() => uci.save())
			.then(() => this.load())
			.catch(error => {
				ui.showModal(_('Save error'), [ E('p', [ error.message ]) ]);
				throw error;
			}).then(() => this.reset());
	}
});

const NamedSection = baseclass.extend({
	__init__(map, name, type) {
		Object.assign(this, { map, name, type, tabs: [], children: [] });
	},

	tab(name, title) {
		this.tabs.push({ name, title });
	},

	taboption(tab, kind, ...args) {
		const option = new kind(this.map, this, ...args);

		option.tab = tab;
		this.children.push(option);

		return option;
	},

	load() {
		return Promise.all(this.children.map(option =>
			Promise.resolve(option.load(this.name)).then(value => { option.value_now = value; })));
	},

	parse() {
		return Promise.all(this.children.map(option => option.parse(this.name)));
	},

	formvalue(section_id, name) {
		return this.children.find(option => option.option == name).formvalue(section_id);
	},

	validateAll() {
		this.children.forEach(option => option.revalidate());
	},

	render() {
		return Promise.all(this.children.map(option => option.render(this.name))).then(nodes => {
			const panes = this.tabs.map(tab => E('div', { 'data-tab': tab.name },
				nodes.filter((node, index) => this.children[index].tab == tab.name)));
			const heads = this.tabs.map((tab, index) => E('li', {}, E('a', { 'href': '#', 'click': event => {
				event.preventDefault();
				show(index);
			} }, tab.title)));
			const show = chosen => panes.forEach((pane, index) => {
				pane.style.display = (index == chosen) ? '' : 'none';
				heads[index].className = (index == chosen) ? 'cbi-tab' : 'cbi-tab-disabled';
			});

			show(0);

			return E('div', { 'class': 'cbi-section' }, [ E('ul', { 'class': 'cbi-tabmenu' }, heads) ].concat(panes));
		});
	}
});

const Value = baseclass.extend({
	__init__(map, section, option, title, description) {
		Object.assign(this, { map, section, option, title, description, rmempty: true, 'default': null });
	},

	load(section_id) {
		return uci.get(this.map.config, section_id, this.option);
	},

	validate() {
		return true;
	},

	id(section_id) {
		return 'widget.cbid.%s.%s.%s'.format(this.map.config, section_id, this.option);
	},

	render(section_id) {
		return Promise.resolve(this.renderWidget(section_id, this.value_now ?? this.default)).then(widget => {
			this.node = E('div', { 'class': 'cbi-value', 'data-name': this.option }, [
				E('label', { 'class': 'cbi-value-title', 'for': this.id(section_id) }, this.title),
				E('div', { 'class': 'cbi-value-field' }, [
					widget, this.description ? E('div', { 'class': 'cbi-value-description' }, this.description) : ''
				])
			]);
			if (this.map.readonly)
				this.node.querySelectorAll('input,select').forEach(input => { input.disabled = true; });
			this.node.addEventListener('change', () => this.section.validateAll());

			return this.node;
		});
	},

	/* An input whose value is looked at whenever it changes. */
	input(section_id, attributes) {
		const input = E('input', { 'id': this.id(section_id), 'type': 'text', 'placeholder': this.placeholder, ...attributes });

		input.check = () => {
			const found = this.validate(section_id, input.value);

			input.classList.toggle('cbi-input-invalid', found !== true);
			input[found === true ? 'removeAttribute' : 'setAttribute']('data-tooltip', found);
			this.wrong = (found === true) ? null : found;
		};
		[ 'blur', 'keyup' ].forEach(name => input.addEventListener(name, input.check));

		return input;
	},

	revalidate() {
		const input = this.node.querySelector('input[id]');

		if (input?.check)
			input.check();
	},

	renderWidget(section_id, value) {
		const input = this.input(section_id, { 'value': value });

		if (!this.password)
			return input;

		input.className = 'cbi-input-password';
		window.requestAnimationFrame(() => { input.type = 'password'; });

		return E('div', { 'class': 'control-group' }, [ input, E('button', {
			'class': 'cbi-button', 'type': 'button', 'aria-label': _('Reveal/hide password'),
			'click': () => { input.type = (input.type == 'password') ? 'text' : 'password'; }
		}, [ '∗' ]) ]);
	},

	formvalue() {
		return this.node.querySelector('input').value;
	},

	parse(section_id) {
		this.revalidate();
		if (this.wrong)
			return Promise.reject(new TypeError(_('Option "%s" contains an invalid input value.').format(this.title) + ' ' + this.wrong));

		const value = this.formvalue(section_id);

		if (value == null || value == '')
			return Promise.resolve(this.rmempty ? this.remove(section_id) : null);
		if (JSON.stringify(value) != JSON.stringify(this.value_now ?? null))
			this.write(section_id, value);

		return Promise.resolve();
	},

	write(section_id, value) {
		uci.set(this.map.config, section_id, this.option, value);
	},

	remove(section_id) {
		uci.unset(this.map.config, section_id, this.option);
	}
});

const Flag = Value.extend({
	renderWidget(section_id, value) {
		return E('input', { 'id': this.id(section_id), 'type': 'checkbox', 'checked': (value == '1') ? '' : null });
	},

	formvalue() {
		return this.node.querySelector('input').checked ? '1' : '0';
	}
});

const ListValue = Value.extend({
	value(key, text) {
		this.choices = (this.choices ?? []).concat([ [ key, text ?? key ] ]);
	},

	renderWidget(section_id, value) {
		return E('select', { 'id': this.id(section_id) }, this.choices.map(choice =>
			E('option', { 'value': choice[0], 'selected': (choice[0] == value) ? '' : null }, [ choice[1] ])));
	},

	formvalue() {
		return this.node.querySelector('select').value;
	}
});

const DynamicList = Value.extend({
	renderWidget(section_id, value) {
		const list = E('div', { 'class': 'cbi-dynlist' });
		const input = this.input(section_id);
		const add = text => {
			const item = E('div', { 'class': 'item', 'tabindex': 0 }, [
				E('span', {}, [ text ]), E('input', { 'type': 'hidden', 'value': text })
			]);

			item.addEventListener('click', () => item.remove());
			item.addEventListener('keydown', event => {
				if (event.key == 'Delete' || event.key == 'Backspace')
					item.remove();
			});
			list.insertBefore(item, list.lastChild);
		};

		list.appendChild(E('div', { 'class': 'add-item' }, [ input ]));
		L.toArray(value).forEach(add);
		input.addEventListener('keydown', event => {
			if (event.key == 'Enter' && input.value && !input.classList.contains('cbi-input-invalid')) {
				add(input.value);
				input.value = '';
			}
		});

		return list;
	},

	formvalue() {
		const input = this.node.querySelector('.add-item input');
		const items = [ ...this.node.querySelectorAll('.item input') ].map(item => item.value);

		return (input.value && !input.classList.contains('cbi-input-invalid')) ? items.concat([ input.value ]) : items;
	}
});

return baseclass.extend({ Map, NamedSection, Value, Flag, ListValue, DynamicList });
